"""Mean Teacher (Tarvainen and Valpola 2017, arXiv:1703.01780).

    L = weight(t) * mean over all images of ||softmax(f(x, strong)) - softmax(f_ema(x, weak))||^2
    weight(t) = weight * exp(-5 (1 - t / T)^2) in the first T steps

f_ema is a moving average of the network, BatchNorm's statistics too; no gradient flows through it.
It has noise of its own: another view, dropout, and BatchNorm by its own batch. Labelled images
count as well. The paper's two views are both weak: `training.num_ops: 0`.

The squared norm is a sum over classes. The paper's code takes the mean over classes and a weight of
100: for ten classes that is the default here.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import exp

import torch
from pydantic import Field
from torch import Tensor
from torch.func import functional_call

from pipeline.core.block import Block
from pipeline.data.batches import Part, Stream
from pipeline.methods.semi_supervised.consistency import TWO_VIEWS
from pipeline.networks.batch_norm import batch_statistics
from pipeline.networks.classifier import Classifier, Output
from pipeline.training.average import share
from pipeline.training.learner import full, places
from pipeline.training.method import Method, Setting

VIEWS = {"labelled": "labelled_weak", "unlabelled": "weak"}  # of a part, the teacher's view


class MeanTeacher(Method):
    """Mean Teacher (Tarvainen and Valpola 2017): images are to be answered as the network's own
    moving average answers another view of them.

    Alone, or with methods that do not compare two views themselves.
    """

    class Options(Block):
        """Of Mean Teacher."""

        weight: float = Field(10.0, ge=0, le=1000, description="of the squared distance")
        ramp: float = Field(
            0.27, ge=0, le=1, description="share of the steps in which the weight rises"
        )
        ema: float = Field(0.99, ge=0, lt=1, description="decay of the average meanwhile")
        ema_after: float = Field(0.999, ge=0, lt=1, description="decay of the average afterwards")

    reads_unlabelled = True
    asks = TWO_VIEWS
    apart = tuple(VIEWS.values())

    def __init__(self, options: Options):
        super().__init__(options)
        self._columns = slice(None)
        self._rising = 0
        self._views: dict[str, Tensor] = {}

    def start(self, setting: Setting) -> None:
        """Images are of the classes that the cross-entropy ranges over."""
        self._columns = setting.blocks.trained
        self._rising = round(self.options.ramp * setting.training.steps)
        self.state = {}  # the average: it begins at the first step, after a new head's warm-up

    def finish(self, setting: Setting) -> None:
        """The next task has an average of its own."""
        self.state = {}

    def streams(self, setting: Setting) -> dict[str, Stream]:
        """`unlabelled` in the strong view, and weak ones of the same images and of `labelled`."""
        images = setting.images
        again = images.labelled(None, images.weak, setting.held_out)
        return {
            "unlabelled": images.unlabelled(images.strong),
            "weak": images.unlabelled(images.weak),
            "labelled_weak": replace(again, order="labelled"),
        }

    def batch(self, batch: dict[str, Part]) -> dict[str, Part]:
        """Take the average's views out of the joint pass."""
        self._views = {name: batch[weak].images for name, weak in VIEWS.items()}
        return {name: part for name, part in batch.items() if name not in self.apart}

    def losses(
        self, network: Classifier, batch: dict[str, Part], output: Output
    ) -> Mapping[str, Tensor]:
        """The weighted distance."""
        self.state = self.state or {n: w.detach().clone() for n, w in _tensors(network).items()}
        rows = places(batch)
        student = torch.cat([output.logits[rows[name], self._columns] for name in VIEWS])
        teacher = self._answers(network, torch.cat(list(self._views.values())))
        ways = full(student).softmax(1) - full(teacher[:, self._columns]).softmax(1)
        return {"mean_teacher": self.options.weight * self.rise * ways.square().sum(1).mean()}

    @property
    def rise(self) -> float:
        """The share of the weight at this step, in 0..1."""
        left = 1 - min(1.0, self.step / self._rising) if self._rising else 0.0
        return exp(-5 * left**2)

    def after_step(self, network: Classifier, batch: dict[str, Part], output: Output) -> None:
        """Take the network into the average."""
        decay = self.options.ema if self.step < self._rising else self.options.ema_after
        with torch.no_grad():
            theirs = _tensors(network)
            ours = [self.state[name] for name in theirs]
            torch._foreach_lerp_(ours, list(theirs.values()), share(decay, self.step + 1))

    @torch.no_grad()
    def _answers(self, network: Classifier, images: Tensor) -> Tensor:
        with batch_statistics(network, noise=True):
            return functional_call(network, self.state, (images,)).logits


def _tensors(network: Classifier) -> dict[str, Tensor]:
    """Of floats, by name: weights and BatchNorm's statistics."""
    return {n: t for n, t in network.state_dict().items() if t.is_floating_point()}
