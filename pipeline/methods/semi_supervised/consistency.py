"""What methods share that compare a weak and a strong view of an unlabelled image.

The weak answer is a constant: no gradient flows through it. The mask depends on the confidence
before sharpening, unless a method says otherwise, and the mean is over all unlabelled images,
masked ones included.

`align: uniform` is distribution alignment (Berthelot et al. 2020, arXiv:1911.09785) towards the
shares of the labelled classes, which are equal: p is divided by the running mean of p over the
batches so far and normalised, before anything else is done with it. The mean weighs the first
batches as much as they count, so that no start of its own is in it. Where a task answers over old
classes as well, its unlabelled images are of the new ones: what goes by the shares of classes goes
by those of the new ones among themselves.

`weak_view: apart` predicts on the weak view in a pass of its own, without gradient: BatchNorm
normalises by the weak images' own statistics and leaves its running averages alone, dropout and
stochastic depth are off. `joint` puts the weak view into the one pass with all other images, as
the papers' code does: its images share BatchNorm statistics and model noise with the others, and
cost a backward pass as well.

`mixup` mixes strong views among themselves, and in the same shares what their weak ones ask of them
with its weights, see `Mixup`: an image that is not kept takes away from its partner's weight. It is
MixMatch's mixing without the labelled images, which stay as they are.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from pipeline.core.block import Block
from pipeline.data.batches import Part, Stream, in_floats
from pipeline.methods.semi_supervised.mixup import Mixup
from pipeline.networks.batch_norm import batch_statistics
from pipeline.networks.classifier import Classifier, Output
from pipeline.training.learner import full, places
from pipeline.training.method import Method, Setting

TWO_VIEWS = "that two views of an unlabelled image are answered alike"


class Consistency(Method, ABC):
    """What such methods share: where the two views' answers come from. Subclasses say what
    the weak answer asks of the strong one."""

    class Options(Block):
        """Of methods that compare a weak and a strong view."""

        weight: float = Field(1.0, ge=0, le=1000, description="of the loss on unlabelled images")
        weak_view: Literal["apart", "joint"] = Field(
            "apart",
            description="predict on the weak view in a pass of its own, without gradient, or in "
            "one pass with all other images, which share BatchNorm statistics then and cost more",
        )
        align: Literal["none", "uniform"] = Field(
            "none",
            description="distribution alignment: weak answers are divided by their running mean, "
            "so that classes come nearer to equal shares",
        )
        align_momentum: float = Field(
            0.999, ge=0, lt=1, description="of the running mean that `align` divides by"
        )
        mixup: float = Field(
            0.0,
            ge=0,
            le=10,
            description="mix strong views among themselves, and what is asked of them, in shares "
            "drawn from Beta(mixup, mixup); 0 = do not, 0.75 in MixMatch",
        )

    reads_unlabelled = True
    asks = TWO_VIEWS
    name: str  # of its loss and of what it notes

    def __init__(self, options: Options):
        super().__init__(options)
        self.rows: Tensor | None = None  # which unlabelled images `targets` is asked for
        self.own = slice(None)  # of the columns in `targets`: the classes of the images
        self._columns = slice(None)
        self._weak: Tensor | None = None
        self._mixup: Mixup | None = None

    @property
    def capturable(self) -> bool:
        """Not with mixup, which draws at each step."""
        return not self.options.mixup

    @property
    def apart(self) -> tuple[str, ...]:
        return ("weak",) if self.options.weak_view == "apart" else ()

    def start(self, setting: Setting) -> None:
        """Unlabelled images are of the classes that the cross-entropy ranges over; what was noted
        of those of an earlier task is forgotten."""
        self._columns, new = setting.blocks.trained, setting.blocks.new
        first = self._columns.start or 0
        self.own = slice((new.start or 0) - first, None if new.stop is None else new.stop - first)
        self.state = {}

    def finish(self, setting: Setting) -> None:
        """The next task has other images and other classes."""
        self.state = {}

    def streams(self, setting: Setting) -> dict[str, Stream]:
        """`unlabelled` in the strong view, `weak` of the same images."""
        images = setting.images
        return {
            "unlabelled": images.unlabelled(images.strong),
            "weak": images.unlabelled(images.weak),
        }

    def batch(self, batch: dict[str, Part]) -> dict[str, Part]:
        """Mix the strong views; take the weak one out of the joint pass, unless it is to stay."""
        if self.options.mixup:
            part = batch["unlabelled"]
            self._mixup = Mixup.draw(len(part.images), self.options.mixup, part.images.device)
            mixed = part._replace(images=self._mixup(in_floats(part.images)))
            batch = {**batch, "unlabelled": mixed}
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
        self.rows = batch["unlabelled"].rows
        targets, kept = self.targets(full(weak[:, self._columns]))
        self.notes = {f"{self.name}_kept": kept.mean()}
        asked = kept[:, None] * targets
        if self._mixup:
            asked, kept = self._mixup(asked), self._mixup(kept)
        loss = F.cross_entropy(strong, asked, reduction="none").mean()
        return {self.name: self.weight * loss, **self.others(strong, kept)}

    @property
    def weight(self) -> float:
        """Of the loss at this step."""
        return self.options.weight

    def aligned(self, weak: Tensor) -> Tensor:
        """Logits (N, K) as `align` asks for them, their mean taken in; asked once in a step."""
        if self.options.align == "none":
            return weak
        if "align" not in self.state:
            self.state["align"] = weak.new_zeros(weak.shape[1])
        sums, momentum = self.state["align"], self.options.align_momentum
        sums.mul_(momentum).add_(weak.softmax(1).mean(0))
        means = sums[self.own].clamp_min(torch.finfo(sums.dtype).tiny)
        shares = torch.ones_like(sums)
        shares[self.own] = means / means.mean()
        return weak - shares.log()

    @abstractmethod
    def targets(self, weak: Tensor) -> tuple[Tensor, Tensor]:
        """From logits (N, K): class probabilities (N, K), and the weight in 0..1 of each image
        (N,)."""

    def others(self, strong: Tensor, kept: Tensor) -> Mapping[str, Tensor]:
        """Losses besides, already weighted, from strong logits (N, K) and the images' weights (N,),
        mixed as they are."""
        return {}


def top(probs: Tensor) -> tuple[Tensor, Tensor]:
    """Of probabilities (N, K): the largest (N,), and one-hot rows of its class (N, K)."""
    confidence, label = probs.max(1)
    # not F.one_hot, which reads its input back from the device to check it
    return confidence, torch.zeros_like(probs).scatter_(1, label[:, None], 1.0)


def ramp(step: int, start: int, length: int) -> float:
    """0 before step `start`, then linearly to 1 in `length` steps."""
    return min(1.0, max(0.0, (step - start) / length)) if length else float(step >= start)


@torch.no_grad()
def predict(network: Classifier, images: Tensor) -> Tensor:
    """Logits (N, K) without model noise, normalised by these images' own statistics, which the
    running averages do not see."""
    with batch_statistics(network):
        return network(images).logits
