"""Consistency of a weak and a strong view: UDA (Xie et al. 2019, arXiv:1904.12848) and FixMatch
(Sohn et al. 2020, arXiv:2001.07685).

    UDA       L = weight * mean over all unlabelled of 1[max p_w >= threshold] * H(p_w^T, p_s)
    FixMatch  the same with the top class of p_w in place of p_w^T

p_w and p_s are the answers to the weak and the strong view, p_w^T the sharpened softmax(z_w / T).

The weak answer is a constant: no gradient flows through it. The mask looks at the confidence
before sharpening, and the mean is over all unlabelled images, masked ones included.

`weak_view: apart` predicts on the weak view in a pass of its own, without gradient: BatchNorm
normalises by the weak images' own statistics and leaves its running averages alone, dropout and
stochastic depth are off. `joint` puts the weak view into the one pass with all other images, as
the papers' code does: its images share BatchNorm statistics and model noise with the others, and
cost a backward pass as well.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.data.batches import Part
from pipeline.learner import full, places
from pipeline.methods.method import Blocks, Method
from pipeline.networks import Classifier, Output
from pipeline.params import FixMatch as FixMatchOptions
from pipeline.params import WeakAndStrong


class Consistency(Method, ABC):
    """What UDA and FixMatch share: where the two views' answers come from. Subclasses say what
    the weak answer asks of the strong one."""

    streams = ("unlabelled", "weak")
    name: str

    def __init__(self, options: WeakAndStrong):
        super().__init__()
        self.options = options
        self._columns = slice(None)
        self._weak: Tensor | None = None

    def before_task(self, network: Classifier, blocks: Blocks) -> None:
        """Unlabelled images are of the classes that the cross-entropy ranges over."""
        self._columns = blocks.trained

    def batch(self, batch: dict[str, Part]) -> dict[str, Part]:
        """Take the weak view out of the joint pass, unless it is to stay there."""
        if self.options.weak_view == "joint":
            return batch
        self._weak = batch["weak"].images
        return {name: part for name, part in batch.items() if name != "weak"}

    def losses(
        self, network: Classifier, batch: dict[str, Part], output: Output
    ) -> Mapping[str, Tensor]:
        """The weighted loss; notes the share of images above the threshold."""
        rows = places(batch)
        if self.options.weak_view == "joint":
            weak = output.logits[rows["weak"]].detach()
        else:
            weak = predict(network, self._weak)
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


class UnsupervisedDataAugmentation(Consistency):
    """Soft, sharpened targets; the weight rises over `ramp_steps`."""

    name = "uda"

    @property
    def weight(self) -> float:
        return self.options.weight * ramp(self.step, 0, self.options.ramp_steps)

    def targets(self, weak: Tensor) -> tuple[Tensor, Tensor]:
        targets = (weak / self.options.temperature).softmax(1)
        sure = targets if self.options.confidence == "sharpened" else weak.softmax(1)
        return targets, (sure.amax(1) >= self.options.threshold).to(weak.dtype)


class FixMatch(Consistency):
    """Hard targets."""

    name = "fixmatch"
    options: FixMatchOptions

    def targets(self, weak: Tensor) -> tuple[Tensor, Tensor]:
        confidence, label = weak.softmax(1).max(1)
        # not F.one_hot, which reads its input back from the device to check it
        hard = torch.zeros_like(weak).scatter_(1, label[:, None], 1.0)
        return hard, (confidence >= self.options.threshold).to(weak.dtype)


def ramp(step: int, start: int, length: int) -> float:
    """0 before step `start`, then linearly to 1 in `length` steps."""
    return min(1.0, max(0.0, (step - start) / length)) if length else float(step >= start)


@torch.no_grad()
def predict(network: Classifier, images: Tensor) -> Tensor:
    """Logits (N, K) without model noise, normalised by these images' own statistics, which the
    running averages do not see."""
    with batch_statistics(network):
        return network(images).logits


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Evaluation mode but for BatchNorm, which normalises by the batch and records nothing."""
    was = {module: module.training for module in network.modules()}
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    averages = [norm.track_running_stats for norm in norms]
    network.eval()
    for norm in norms:
        norm.train()
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, tracked in zip(norms, averages):
            norm.track_running_stats = tracked
        for module, training in was.items():
            module.training = training
