"""Less-forgetting learning (Jung et al. 2016, arXiv:1607.00122).

    L = CE(new) + weight * 1/2 * mean over images of ||f(x) - f_old(x)||^2

f are the features that the heads stand on, before dropout, f_old those of the old model, frozen in
eval mode, for the same augmented view of every image of a step. The squared distance is a sum over
features, as in the paper, so that a wider network is held faster by the same weight; its default is
the formula as it stands. The heads of earlier tasks are frozen: the decision boundaries that the
features are kept for. The paper's case is `scenario: domain`, where no other head is there to
train; a new one learns on.
"""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from pipeline.core.block import Block
from pipeline.data.batches import Part
from pipeline.networks.classifier import Classifier, Output
from pipeline.training.learner import full
from pipeline.training.method import Method, Setting


class LessForgettingLearning(Method):
    """Less-forgetting learning (Jung et al. 2016): keeps the features of the new images, under old
    heads that are frozen.

    With any method; next to `lwf` the old answers are held twice, in the features and behind them.
    """

    class Options(Block):
        """Of less-forgetting learning."""

        weight: float = Field(
            1.0, ge=0, le=1000, description="of half the squared distance of the features"
        )

    passes = 1  # the old model's
    fixes_old_heads = True
    capturable = True

    def __init__(self, options: Options):
        super().__init__(options)
        self._old: Classifier | None = None

    def start(self, setting: Setting) -> None:
        """Take the base as the old model, if there is one."""
        if setting.blocks.old:
            [self._old] = setting.teachers.values()

    def losses(
        self, network: Classifier, batch: dict[str, Part], output: Output
    ) -> Mapping[str, Tensor]:
        """`lfl`: the weighted distance; nothing without an old task."""
        if self._old is None:
            return {}
        with torch.no_grad():
            old = self._old(torch.cat([part.images for part in batch.values()])).features
        return {"lfl": self.options.weight * distance(output.features, old).mean()}


def distance(features: Tensor, old: Tensor) -> Tensor:
    """Half the squared Euclidean distance per sample, (N, F), (N, F) -> (N,)."""
    return (full(features) - full(old)).square().sum(1) / 2
