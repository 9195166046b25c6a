"""Options of methods, which stand under their names in a model's block."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.params.blocks import Block


class LwF(Block):
    """Learning without Forgetting (Li and Hoiem 2016)."""

    weight: float = Field(ge=0, le=1000, description="of the distillation loss on the old units")
    temperature: float = Field(gt=0, le=100, description="softens both answers; 2 in the paper")
    warmup_steps: int = Field(ge=0, description="steps that train the new head alone, at first")


class WeakAndStrong(Block):
    """Options of methods that compare a weak and a strong view of an unlabelled image."""

    weight: float = Field(ge=0, le=1000, description="of the loss on unlabelled images")
    threshold: float = Field(
        ge=0, le=1, description="least confidence on the weak view, before sharpening"
    )
    weak_view: Literal["apart", "joint"] = Field(
        "apart",
        description="predict on the weak view in a pass of its own, without gradient, or in one "
        "pass with all other images, which share BatchNorm statistics then and cost more",
    )


class FixMatch(WeakAndStrong):
    """FixMatch (Sohn et al. 2020): 1.0 and 0.95 in the paper."""


class UDA(WeakAndStrong):
    """Unsupervised data augmentation (Xie et al. 2019): temperature 0.4, threshold 0.8."""

    temperature: float = Field(gt=0, le=100, description="sharpens (< 1) the weak view's answer")
    ramp_steps: int = Field(ge=0, description="steps in which the weight rises from 0, linearly")
    confidence: Literal["plain", "sharpened"] = Field(
        "plain", description="what the threshold looks at: before or after the temperature"
    )


class OnlinePseudoLabel(Block):
    """Pseudo-label (Lee 2013): weight 3 in the paper, threshold 0."""

    weight: float = Field(ge=0, le=1000, description="of the loss on unlabelled images")
    threshold: float = Field(ge=0, le=1, description="least confidence of a label")
    start_step: int = Field(ge=0, description="steps with weight 0, at first")
    ramp_steps: int = Field(ge=0, description="steps in which the weight rises after that")
