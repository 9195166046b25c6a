"""Unsupervised data augmentation (Xie et al. 2019, arXiv:1904.12848).

    L = weight * mean over all unlabelled of 1[max p_w >= threshold] * H(p_w^T, p_s)

p_w and p_s are the answers to the weak and the strong view, p_w^T the sharpened softmax(z_w / T).
Defaults are the paper's for CIFAR-10; its training signal annealing is not here.
"""

from typing import Literal

from pydantic import Field
from torch import Tensor

from pipeline.methods.semi_supervised.consistency import Consistency, ramp


class UnsupervisedDataAugmentation(Consistency):
    """UDA (Xie et al. 2019): the strong view is to be answered as the weak one is, sharpened.

    Alone, or with methods that do not compare two views themselves.
    """

    class Options(Consistency.Options):
        """Of UDA."""

        threshold: float = Field(
            0.8, ge=0, le=1, description="least confidence on the weak view, see `confidence`"
        )
        temperature: float = Field(
            0.4, gt=0, le=100, description="sharpens (< 1) the weak view's answer"
        )
        ramp_steps: int = Field(
            0, ge=0, description="steps in which the weight rises from 0, linearly"
        )
        confidence: Literal["plain", "sharpened"] = Field(
            "plain", description="what the threshold reads: before or after the temperature"
        )

    name = "uda"

    @property
    def capturable(self) -> bool:
        return super().capturable and not self.options.ramp_steps

    @property
    def weight(self) -> float:
        return self.options.weight * ramp(self.step, 0, self.options.ramp_steps)

    def targets(self, weak: Tensor) -> tuple[Tensor, Tensor]:
        weak = self.aligned(weak)
        targets = (weak / self.options.temperature).softmax(1)
        sure = targets if self.options.confidence == "sharpened" else weak.softmax(1)
        return targets, (sure.amax(1) >= self.options.threshold).to(weak.dtype)
