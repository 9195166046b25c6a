"""Elastic Weight Consolidation (Kirkpatrick et al. 2017, arXiv:1612.00796).

    L = CE(new) + weight / 2 * sum over earlier tasks and weights of F * (w - w_task)^2

F is the diagonal of the Fisher information of a task: the mean over its images of the squared
gradient of log p(y), each image's by itself, since a square of a batch's mean gradient is smaller
by about the size of the batch. y is drawn from the model's own answer (`true`) or is the label
(`empirical`, no Fisher information where the model is wrong, but usual); p is the softmax that the
task's cross-entropy ranged over. What is drawn asks for no label, so `true` looks at unlabelled
images beside the labelled ones: of few labelled images alone, all learnt by heart, F is all but 0.
The network is the one that ships, in evaluation mode, on images as they are. Old heads are held as
all other weights are; a head is free until its own task is over.

`separate` keeps w and F of each task, as the paper does: two numbers a weight for every task, in
memory and on disk. `online` (Schwarz et al. 2018, arXiv:1805.06370) keeps two numbers a weight for
all tasks: gamma times the earlier F and the new one, around the weights after the newest task.

The weight of 400 is that of the paper's Atari games. The gradient is weight * F * (w - w_task), but
for weights held so firmly that a step would overshoot, see `limit` and anchor.py.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from pipeline.core.block import Block
from pipeline.data.batches import Part
from pipeline.methods.continual.anchor import (
    IMAGES,
    LIMIT,
    Named,
    distance,
    drawn,
    limited,
    over_all,
    taken,
    weights_of,
)
from pipeline.networks.classifier import Classifier, Output
from pipeline.networks.evaluate import infer
from pipeline.training.learner import below
from pipeline.training.method import Method, Setting
from pipeline.training.per_sample import mean_gradients


class ElasticWeightConsolidation(Method):
    """Elastic Weight Consolidation (Kirkpatrick et al. 2017): holds each weight as firmly as
    earlier tasks' answers hang on it.

    With any method: with Learning without Forgetting it keeps the weights and the answers; MAS
    measures the same by other means, so one of the two will do.
    """

    class Options(Block):
        """Of Elastic Weight Consolidation."""

        weight: float = Field(
            400.0, ge=0, le=1e6, description="of half the squared distance, weighed by the Fisher"
        )
        fisher: Literal["true", "empirical"] = Field(
            "true", description="gradients for labels drawn from the model's answers, or the labels"
        )
        tasks: Literal["separate", "online"] = Field(
            "separate",
            description="weights and Fisher information of every earlier task, whose memory grows "
            "with each, or one of both for all tasks",
        )
        gamma: float = Field(
            1.0,
            ge=0,
            le=1,
            description="of `online`: share that earlier tasks keep at each new one",
        )
        limit: float = LIMIT
        images: int = IMAGES

    consolidates = True
    capturable = True

    def __init__(self, options: Options):
        super().__init__(options)
        self._held: list[Named] = []

    @property
    def reads_unlabelled(self) -> bool:
        return self.options.fisher == "true"

    def start(self, setting: Setting) -> None:
        """Take how firmly earlier tasks hold each weight, if there are any."""
        rate, options = setting.training.learning_rate, self.options
        self._held = limited(self._fishers(), options.weight, rate, options.limit)

    def losses(
        self, network: Classifier, batch: dict[str, Part], output: Output
    ) -> Mapping[str, Tensor]:
        """`ewc`: the weighted distance to all earlier tasks' weights; nothing without one."""
        pulls = [
            distance(network, below(self.state, f"mean/{task}/"), fisher)
            for task, fisher in enumerate(self._held)
        ]
        return {"ewc": self.options.weight / 2 * torch.stack(pulls).sum()} if pulls else {}

    def finish(self, setting: Setting) -> None:
        """Keep the weights, and how much each matters to the task."""
        fishers, new = self._fishers(), self.fisher(setting)
        if self.options.tasks == "online":
            for older in fishers:
                new |= {name: new[name] + self.options.gamma * f for name, f in older.items()}
            self.state, fishers = {}, []
        kept = {f"fisher/{len(fishers)}/{name}": f for name, f in new.items()}
        means = weights_of(setting.network).items()
        self.state |= kept | {f"mean/{len(fishers)}/{name}": w for name, w in means}

    def fisher(self, setting: Setting) -> Named:
        """Of the setting's images, by the weight's name, of its shape."""
        network, columns = setting.network, setting.blocks.trained

        def nll(logits: Tensor, label: Tensor) -> Tensor:
            return F.cross_entropy(logits[None, columns], label[None])

        def answered(images) -> Named:
            answers = infer(network, images)[:, columns].softmax(1)
            labels = torch.multinomial(answers, 1)[:, 0]
            return mean_gradients(network, images, nll, torch.square, labels)

        if self.options.fisher == "true":
            return over_all(setting.images, answered, self.options.images)
        images, labels = setting.images.images("labelled"), setting.images.labels()
        rows = drawn(len(images), self.options.images)
        images, labels = taken(images, rows), taken(labels, rows)
        labels = labels + setting.blocks.new.start - columns.start
        return mean_gradients(network, images, nll, torch.square, labels)

    def _fishers(self) -> list[Named]:
        """Of each earlier task that is kept by itself, oldest first."""
        fishers = below(self.state, "fisher/")
        num = len({name.split("/")[0] for name in fishers})
        return [below(fishers, f"{task}/") for task in range(num)]
