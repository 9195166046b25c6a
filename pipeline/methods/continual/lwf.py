"""Learning without Forgetting (Li and Hoiem 2016, arXiv:1606.09282).

    L = CE(new) + weight * sum over old softmaxes of KL(p_old^T || p^T)

The old model, frozen in eval mode, answers the same augmented view of each new image (recomputed
each step; the paper records its answers once). As in the paper there is no factor T^2. KL and the
paper's cross-entropy differ by a constant. Before, the new head alone is trained (`warmup_steps`;
the paper trains it until it converges).
"""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from pipeline.core.block import Block
from pipeline.data.batches import Part
from pipeline.networks.classifier import Classifier, Output
from pipeline.training.method import Method, Setting


class LearningWithoutForgetting(Method):
    """Learning without Forgetting (Li and Hoiem 2016): keeps the old units' answers on the new
    images.

    With any method; with UDA or FixMatch it keeps the answers on their strong view too.
    """

    class Options(Block):
        """Of Learning without Forgetting."""

        weight: float = Field(
            1.0, ge=0, le=1000, description="of the distillation loss on the old units"
        )
        temperature: float = Field(2.0, gt=0, le=100, description="softens both answers")
        warmup_steps: int = Field(
            100, ge=0, description="steps that train the new head alone, at first"
        )

    passes = 1  # the old model's
    capturable = True

    def __init__(self, options: Options):
        super().__init__(options)
        self._old: Classifier | None = None
        self._blocks: list[slice] = []

    @property
    def warmup_steps(self) -> int:
        return self.options.warmup_steps

    def start(self, setting: Setting) -> None:
        """Take the base as the old model, if there is one."""
        self._blocks = setting.blocks.old
        if self._blocks:
            [self._old] = setting.teachers.values()

    def losses(
        self, network: Classifier, batch: dict[str, Part], output: Output
    ) -> Mapping[str, Tensor]:
        """`lwf`: the weighted distillation; nothing without an old task."""
        if self._old is None:
            return {}
        with torch.no_grad():
            old = self._old(torch.cat([part.images for part in batch.values()])).logits
        kept = [
            distillation(output.logits[:, block], old[:, block], self.options.temperature).mean()
            for block in self._blocks
        ]
        return {"lwf": self.options.weight * torch.stack(kept).sum()}


def distillation(logits: Tensor, old: Tensor, temperature: float) -> Tensor:
    """KL(softmax(old / T) || softmax(logits / T)) per sample, (N, C), (N, C) -> (N,)."""
    mine = F.log_softmax(logits.float() / temperature, dim=1)
    target = F.log_softmax(old.float() / temperature, dim=1)
    return F.kl_div(mine, target, reduction="none", log_target=True).sum(1)
