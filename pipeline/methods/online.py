"""Pseudo-label (Lee 2013, ICML workshop on representation learning): the network labels the images
of its own batch.

    L = weight(t) * mean over all unlabelled of 1[max p >= threshold] H(argmax p, p)

The label is the top class of the very forward pass that is trained, a constant for the gradient.
The weight is 0 for `start_step` steps and rises over `ramp_steps` to its full value. The paper has
no threshold (0 here).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from pipeline.data.batches import Part
from pipeline.learner import places
from pipeline.methods.consistency import ramp
from pipeline.methods.method import Blocks, Method
from pipeline.networks import Classifier, Output
from pipeline.params import OnlinePseudoLabel as Options


class OnlinePseudoLabel(Method):
    """Hard labels of its own for the unlabelled part."""

    streams = ("unlabelled",)

    def __init__(self, options: Options):
        super().__init__()
        self.options = options
        self._columns = slice(None)

    def before_task(self, network: Classifier, blocks: Blocks) -> None:
        """Unlabelled images are of the classes that the cross-entropy ranges over."""
        self._columns = blocks.trained

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
