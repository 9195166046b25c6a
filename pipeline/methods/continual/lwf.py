"""Learning without Forgetting (Li and Hoiem 2016, arXiv:1606.09282).

    L = CE(new) + weight * sum over old softmaxes of KL(p_old^T || p^T)

The old model, frozen in eval mode, answers the same augmented view of each image of a step. With
`record`, as in the paper, it answers each labelled image of the task once instead, before the
training and without augmentation; images without a recorded answer (unlabelled, of earlier tasks)
have no such loss then. The recording is not part of `images_seen`.

As in the paper there is no factor T^2. KL and the paper's cross-entropy differ by a constant.
Before, the new head alone is trained (`warmup_steps`; the paper trains it until it converges).

`balance: classes` weighs as BiC does (Wu et al. 2019, arXiv:1905.13260), by the share of the old
classes among those of the old model and of the task:

    L = (1 - share) * CE + weight * share * sum of KL

where a `domain` of known classes counts them as the task's all the same, or the share would be 1.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from pipeline.core.block import Block
from pipeline.data.batches import Part
from pipeline.networks.classifier import Classifier, Output
from pipeline.networks.evaluate import infer
from pipeline.training.learner import places
from pipeline.training.method import Blocks, Method, Setting


class LearningWithoutForgetting(Method):
    """Learning without Forgetting (Li and Hoiem 2016): keeps the old units' answers on the new
    images.

    With any method; with FixMatch and the like it keeps the answers on their strong view too.
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
        record: bool = Field(
            False,
            description="the old model answers each labelled image once, without augmentation, as "
            "in the paper; otherwise at every step the view that is trained on",
        )
        balance: Literal["paper", "classes"] = Field(
            "paper",
            description="`classes`: the distillation counts by the share of the old classes, the "
            "cross-entropy by that of the new ones (BiC); `paper`: each in full",
        )

    capturable = True

    def __init__(self, options: Options):
        super().__init__(options)
        self._old: Classifier | None = None
        self._blocks: list[slice] = []
        self._weight = options.weight
        self._answers: Tensor | None = None  # (samples of the part `labelled`, old units)

    @property
    def warmup_steps(self) -> int:
        return self.options.warmup_steps

    @property
    def passes(self) -> int:
        """The old model's, at each step."""
        return 0 if self.options.record else 1

    def start(self, setting: Setting) -> None:
        """Take the base as the old model, if there is one; perhaps record its answers, which a
        resumed training finds again."""
        self._blocks = setting.blocks.old
        if not self._blocks:
            return
        [self._old] = setting.teachers.values()
        if self.options.balance == "classes":
            share = share_of_old(setting.blocks)
            self._weight, self.ce_weight = share * self.options.weight, 1 - share
        if self.options.record:
            self._answers = recorded(self._old, setting)

    def losses(
        self, network: Classifier, batch: dict[str, Part], output: Output
    ) -> Mapping[str, Tensor]:
        """`lwf`: the weighted distillation; nothing without an old task."""
        if self._old is None:
            return {}
        mine, old = self._answered(batch, output.logits)
        kept = [
            distillation(mine[:, block], old[:, block], self.options.temperature).mean()
            for block in self._blocks
        ]
        return {"lwf": self._weight * torch.stack(kept).sum()}

    def _answered(self, batch: dict[str, Part], logits: Tensor) -> tuple[Tensor, Tensor]:
        """The logits to compare, and the old model's for the same images."""
        if self._answers is not None:
            return logits[places(batch)["labelled"]], self._answers[batch["labelled"].rows]
        with torch.no_grad():
            return logits, self._old(torch.cat([part.images for part in batch.values()])).logits


def recorded(old: Classifier, setting: Setting) -> Tensor:
    """The old model's logits for each sample that the task is trained on, as its image lies on the
    disk: float32 (M, old units), on the device."""
    images = setting.images.images("labelled")
    kept = np.setdiff1d(np.arange(len(images)), setting.held_out)
    return infer(old, images)[torch.from_numpy(kept)].to(setting.network.mean.device)


def share_of_old(blocks: Blocks) -> float:
    """Of the old classes among them and the task's, 0..1."""
    num_old = sum(block.stop - block.start for block in blocks.old)
    return num_old / (num_old + blocks.new.stop - blocks.new.start)


def distillation(logits: Tensor, old: Tensor, temperature: float) -> Tensor:
    """KL(softmax(old / T) || softmax(logits / T)) per sample, (N, C), (N, C) -> (N,)."""
    mine = F.log_softmax(logits.float() / temperature, dim=1)
    target = F.log_softmax(old.float() / temperature, dim=1)
    return F.kl_div(mine, target, reduction="none", log_target=True).sum(1)
