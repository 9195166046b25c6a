"""Bias Correction (Wu et al. 2019, arXiv:1905.13260).

    stage 1: L = lambda * H(p_old^T, p^T over old units) + (1 - lambda) * CE, lambda = n_old / n_all
    stage 2: alpha, beta = argmin CE([old logits, alpha * new logits + beta])
                           + l2 / 2 * beta^2, over held-out images, all else as it is, T = 1

Stage 1 is `lwf` with exemplars, so the paper's method is written

    methods: {replay: {}, lwf: {balance: classes, warmup_steps: 0}, bic: {}}

and the old model's answers have its own corrections. Stage 2 goes over as many held-out images of
each class, exemplars and new ones, in evaluation mode and without augmentation. Each block keeps
the correction that it got when it was new.

Ours: the loss is convex in (alpha, beta), so a quasi-Newton method finds its minimum in a few steps
(the paper: gradient descent as long as stage 1). It stops where the loss is all but flat: images
that are told apart without error would have alpha grow for ever.
"""

from types import MappingProxyType

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from pipeline.core.block import Block
from pipeline.core.errors import UserError
from pipeline.networks.corrected import CorrectedHead
from pipeline.networks.evaluate import infer
from pipeline.training.method import Method, Setting

FLAT = 1e-4  # a gradient, in nats, at which stage 2 ends


class BiasCorrection(Method):
    """Bias Correction (Wu et al. 2019): scales and shifts the new logits, which a network that saw
    more new images than old ones makes too large.

    With `replay`, which it needs, and `lwf: {balance: classes}`, the paper's first stage.
    """

    class Options(Block):
        """Of Bias Correction."""

        share: float = Field(
            0.1,
            gt=0,
            lt=1,
            description="labelled images of each class, exemplars and new ones, that are kept from "
            "the training and that the correction is learnt on",
        )
        l2: float = Field(0.1, ge=0, le=1000, description="of the squared shift of the new logits")
        steps: int = Field(100, ge=1, le=100_000, description="at most, of learning the correction")

    needs = ("replay",)
    scenarios = ("class",)
    capturable = True
    head = MappingProxyType({"corrected": True})

    @property
    def holds_out(self) -> float:
        return self.options.share

    def start(self, setting: Setting) -> None:
        """Give the new head its correction, none as yet; with no earlier task there is nothing to
        correct.

        Raises:
            UserError: there is no image of a class that could be held out.
        """
        if not setting.blocks.old:
            return
        setting.network.correct_newest_head()
        if not len(self._rows(setting)[0]):
            where = f"tasks.{setting.name}.methods.bic.share"
            what = "no image of each class can be kept from the training"
            fix = "raise labels_per_class and methods.replay.memory to 2 images of each class"
            raise UserError(where, what, fix)

    def finish(self, setting: Setting) -> None:
        """Stage 2. The rest of the network, old logits with it, stays as it is."""
        head = setting.network.newest_head
        if not setting.blocks.old or not isinstance(head, CorrectedHead):
            return
        logits, labels = self._held_out(setting)
        options = self.options
        alpha, beta = correction(logits, labels, setting.blocks.new, options.l2, options.steps)
        head.alpha.fill_(alpha), head.beta.fill_(beta)

    def _held_out(self, setting: Setting) -> tuple[Tensor, Tensor]:
        """Logits and labels of the held-out images, as many of each class."""
        exemplars = setting.methods["replay"].state
        old, new = self._rows(setting)
        mine = setting.images.images("labelled")[new]
        parts = exemplars["image"][old], mine
        logits = torch.cat([infer(setting.network, part) for part in parts])
        labels = setting.images.labels().cpu()[torch.from_numpy(new)] + setting.blocks.new.start
        return logits, torch.cat([exemplars["label"].cpu()[old], labels])

    def _rows(self, setting: Setting) -> tuple[Tensor, np.ndarray]:
        """Which exemplars and which of the new images: the same number of each class."""
        replay = setting.methods["replay"]
        old, labels = replay.held_out(setting), replay.state["label"].cpu().numpy()
        new, own = setting.held_out, setting.images.labels().cpu().numpy()
        exemplars, images = _by_class(labels[old.numpy()]), _by_class(own[new])
        num = min(map(len, exemplars + images)) if exemplars and images else 0
        if not num:
            return old[:0], new[:0]
        first = [np.concatenate([rows[:num] for rows in kind]) for kind in (exemplars, images)]
        return old[torch.from_numpy(first[0])], new[first[1]]


def correction(
    logits: Tensor, labels: Tensor, new: slice, l2: float, steps: int
) -> tuple[float, float]:
    """The scale and the shift of the new logits that make the labels likeliest.

    Args:
        logits: (N, K) of the network as it is.
        labels: int64 (N,).
        new: the block to correct.
        l2: of half the squared shift, added to the mean loss in nats.
        steps: at most.
    """
    logits = logits.double()
    alpha = torch.ones((), dtype=torch.float64, requires_grad=True)
    beta = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [alpha, beta], max_iter=steps, tolerance_grad=FLAT, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = corrected_loss(logits, labels, new, alpha, beta) + l2 / 2 * beta.square()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    return alpha.item(), beta.item()


def corrected_loss(
    logits: Tensor, labels: Tensor, new: slice, alpha: Tensor, beta: Tensor
) -> Tensor:
    """Mean cross-entropy over all classes, in nats, with the new block's logits corrected."""
    before, block, after = logits[:, : new.start], logits[:, new], logits[:, new.stop :]
    return F.cross_entropy(torch.cat([before, alpha * block + beta, after], 1), labels)


def _by_class(labels: np.ndarray) -> list[np.ndarray]:
    """Where the images of each class are."""
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]
