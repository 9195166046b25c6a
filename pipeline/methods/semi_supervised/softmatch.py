"""SoftMatch (Chen et al. 2023, arXiv:2301.10921).

    L = weight * mean over all unlabelled of w(max q) * H(argmax p_w, p_s)
    w(x) = 1 where x >= mu, else exp(-(x - mu)^2 / (2 (sigma / narrowing)^2))

mu and sigma^2 are running means of the mean and the (unbiased) variance of max q over batches; they
begin at 1 / K and 1, and take a batch in before it is weighed. q is p_w, or with uniform alignment
p_w divided by its running mean, which the weights alone go by. The paper's formula has a narrowing
of 1; the code behind its tables has 2, the default here.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from pipeline.methods.semi_supervised.consistency import Consistency, top


class SoftMatch(Consistency):
    """SoftMatch (Chen et al. 2023): FixMatch with a weight in place of the threshold, lower for
    images that the network is less sure of than it usually is.

    Alone, or with methods that do not compare two views themselves.
    """

    class Options(Consistency.Options):
        """Of SoftMatch."""

        align: Literal["none", "uniform"] = Field(
            "uniform",
            description="distribution alignment of what the weights go by: weak answers are "
            "divided by their running mean",
        )
        momentum: float = Field(
            0.999, ge=0, lt=1, description="of the running mean and variance of the confidence"
        )
        narrowing: float = Field(
            2.0, gt=0, le=1000, description="the deviation is divided by it: 1000 is a threshold"
        )

    name = "softmatch"

    def targets(self, weak: Tensor) -> tuple[Tensor, Tensor]:
        _, hard = top(weak.softmax(1))
        confidence = self.aligned(weak).softmax(1).amax(1)
        if "center" not in self.state:
            self.state["center"] = weak.new_full((), 1 / weak.shape[1])
            self.state["variance"] = weak.new_ones(())
        return hard, self._weights(confidence)

    def _weights(self, confidence: Tensor) -> Tensor:
        center, variance = self.state["center"], self.state["variance"]
        share = 1 - self.options.momentum
        center.lerp_(confidence.mean(), share)
        # of one image there is no unbiased variance
        variance.lerp_(confidence.var(correction=min(1, len(confidence) - 1)), share)
        below = (confidence - center).clamp_max(0)
        narrow = (variance / self.options.narrowing**2).clamp_min(torch.finfo(variance.dtype).tiny)
        return torch.exp(-below.square() / (2 * narrow))
