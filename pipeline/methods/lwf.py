"""Learning without Forgetting (Li and Hoiem 2016, arXiv:1606.09282).

    L = CE(new) + weight * sum over old softmaxes of KL(p_old^T || p^T)

The old model, frozen in eval mode, answers the same augmented view of each new image (recomputed
each step; the paper records its answers once). As in the paper there is no factor T^2. KL and the
paper's cross-entropy differ by a constant. Before, the new head alone is trained (`warmup_steps`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.data.batches import Part
from pipeline.methods.method import Blocks, Method
from pipeline.networks import Classifier, Output
from pipeline.params import LwF


class LearningWithoutForgetting(Method):
    """Keeps the old units' answers on the new images."""

    def __init__(self, options: LwF):
        super().__init__()
        self.options = options
        self._old: Classifier | None = None
        self._blocks: list[slice] = []

    def before_task(self, network: Classifier, blocks: Blocks) -> None:
        """Freeze a copy: the old model."""
        self._old = copy.deepcopy(network).requires_grad_(False).eval() if blocks.old else None
        self._blocks = blocks.old

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
