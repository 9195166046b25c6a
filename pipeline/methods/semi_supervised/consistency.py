"""What methods share that compare a weak and a strong view of an unlabelled image.

The weak answer is a constant: no gradient flows through it. The mask depends on the confidence
before sharpening, unless a method says otherwise, and the mean is over all unlabelled images,
masked ones included.

`weak_view: apart` predicts on the weak view in a pass of its own, without gradient: BatchNorm
normalises by the weak images' own statistics and leaves its running averages alone, dropout and
stochastic depth are off. `joint` puts the weak view into the one pass with all other images, as
the papers' code does: its images share BatchNorm statistics and model noise with the others, and
cost a backward pass as well.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from pipeline.core.block import Block
from pipeline.data.batches import Part, Stream
from pipeline.networks.batch_norm import batch_statistics
from pipeline.networks.classifier import Classifier, Output
from pipeline.training.learner import full, places
from pipeline.training.method import Method, Setting


class Consistency(Method, ABC):
    """What UDA and FixMatch share: where the two views' answers come from. Subclasses say what
    the weak answer asks of the strong one."""

    class Options(Block):
        """Of methods that compare a weak and a strong view."""

        weight: float = Field(1.0, ge=0, le=1000, description="of the loss on unlabelled images")
        threshold: float = Field(
            ge=0, le=1, description="least confidence on the weak view, before sharpening"
        )
        weak_view: Literal["apart", "joint"] = Field(
            "apart",
            description="predict on the weak view in a pass of its own, without gradient, or in "
            "one pass with all other images, which share BatchNorm statistics then and cost more",
        )

    reads_unlabelled = True
    name: str  # of its loss and of what it notes

    def __init__(self, options: Options):
        super().__init__(options)
        self._columns = slice(None)
        self._weak: Tensor | None = None

    @property
    def apart(self) -> tuple[str, ...]:
        return ("weak",) if self.options.weak_view == "apart" else ()

    def start(self, setting: Setting) -> None:
        """Unlabelled images are of the classes that the cross-entropy ranges over."""
        self._columns = setting.blocks.trained

    def streams(self, setting: Setting) -> dict[str, Stream]:
        """`unlabelled` in the strong view, `weak` of the same images."""
        images = setting.images
        return {
            "unlabelled": images.unlabelled(images.strong),
            "weak": images.unlabelled(images.weak),
        }

    def batch(self, batch: dict[str, Part]) -> dict[str, Part]:
        """Take the weak view out of the joint pass, unless it is to stay there."""
        if not self.apart:
            return batch
        self._weak = batch["weak"].images
        return {name: part for name, part in batch.items() if name != "weak"}

    def losses(
        self, network: Classifier, batch: dict[str, Part], output: Output
    ) -> Mapping[str, Tensor]:
        """The weighted loss; notes the share of images above the threshold."""
        rows = places(batch)
        joint = output.logits[rows["weak"]].detach() if "weak" in rows else None
        weak = predict(network, self._weak) if joint is None else joint
        strong = full(output.logits[rows["unlabelled"], self._columns])
        targets, kept = self.targets(full(weak[:, self._columns]))
        self.notes = {f"{self.name}_kept": kept.mean()}
        loss = (kept * F.cross_entropy(strong, targets, reduction="none")).mean()
        return {self.name: self.weight * loss}

    @property
    def weight(self) -> float:
        """Of the loss at this step."""
        return self.options.weight

    @abstractmethod
    def targets(self, weak: Tensor) -> tuple[Tensor, Tensor]:
        """From logits (N, K): class probabilities (N, K), and 1 or 0 for each image (N,)."""


def ramp(step: int, start: int, length: int) -> float:
    """0 before step `start`, then linearly to 1 in `length` steps."""
    return min(1.0, max(0.0, (step - start) / length)) if length else float(step >= start)


@torch.no_grad()
def predict(network: Classifier, images: Tensor) -> Tensor:
    """Logits (N, K) without model noise, normalised by these images' own statistics, which the
    running averages do not see."""
    with batch_statistics(network):
        return network(images).logits
