"""Pseudo-label (Lee 2013, ICML workshop on representation learning).

    L = weight(t) * mean over all unlabelled of 1[max p >= threshold] H(argmax p, p)

The label is the top class of the very forward pass that is trained, a constant for the gradient.
The weight is 0 for `start_step` steps and rises over `ramp_steps` to its full value; the paper's
3, from step 100 to 600, are the defaults. The paper has no threshold (0 here).
"""

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from pipeline.core.block import Block
from pipeline.data.batches import Part, Stream
from pipeline.data.kinds import CLASSIFICATION, SEGMENTATION
from pipeline.methods.semi_supervised.consistency import ramp
from pipeline.networks.classifier import Classifier, Output
from pipeline.training.learner import places
from pipeline.training.method import Method, Setting


class OnlinePseudoLabel(Method):
    """Pseudo-label (Lee 2013): the network labels the unlabelled images of its own batch.

    With a method that compares two views it shares the strong one.
    """

    class Options(Block):
        """Of pseudo-label."""

        weight: float = Field(3.0, ge=0, le=1000, description="of the loss on unlabelled images")
        threshold: float = Field(0.0, ge=0, le=1, description="least confidence of a label")
        start_step: int = Field(100, ge=0, description="steps with weight 0, at first")
        ramp_steps: int = Field(500, ge=0, description="steps in which the weight rises then")

    reads_unlabelled = True
    kinds = (CLASSIFICATION, SEGMENTATION)

    def __init__(self, options: Options):
        super().__init__(options)
        self._columns = slice(None)

    def start(self, setting: Setting) -> None:
        """Unlabelled images are of the classes that the cross-entropy ranges over."""
        self._columns = setting.blocks.trained

    def streams(self, setting: Setting) -> dict[str, Stream]:
        """`unlabelled` in the strong view."""
        return {"unlabelled": setting.images.unlabelled(setting.images.strong)}

    def losses(
        self, network: Classifier, batch: dict[str, Part], output: Output
    ) -> Mapping[str, Tensor]:
        """The weighted loss; notes the share of images above the threshold."""
        logits = output.logits[places(batch)["unlabelled"], self._columns].float()
        confidence, label = logits.detach().softmax(1).max(1)
        kept = (confidence >= self.options.threshold).float()
        self.notes = {"pseudo_label_kept": kept.mean()}
        loss = (kept * F.cross_entropy(logits, label, reduction="none")).mean()
        rising = ramp(self.step, self.options.start_step, self.options.ramp_steps)
        return {"pseudo_label": self.options.weight * rising * loss}
