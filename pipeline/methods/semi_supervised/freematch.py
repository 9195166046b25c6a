"""FreeMatch (Wang et al. 2023, arXiv:2205.07246).

    L = weight * mean over all unlabelled of 1[max p_w >= T(argmax p_w)] * H(argmax p_w, p_s)
        + fairness * sum over c of a(c) log b(c)
    T(c) = m(c) / max m * t
    a = m / h,   b = mean of p_s / share of argmax p_s, both normalised to 1, b over kept images

t is the running mean of max p_w, m that of p_w and h that of the shares of argmax p_w; they begin
at 1 / K and take a batch in before its images are kept or not. The gradient of the fairness term
flows through p_s alone. Classes that no kept image is answered with have no b: public code puts
the logarithm of 1e-12 in its place, a constant that only hides the loss in the curves. A class that
no weak view was answered with for long has an a of 0.
"""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from pipeline.methods.semi_supervised.consistency import Consistency, top


class FreeMatch(Consistency):
    """FreeMatch (Wang et al. 2023): FixMatch with thresholds that follow the network's confidence,
    in all and in each class.

    Alone, or with methods that do not compare two views themselves.
    """

    class Options(Consistency.Options):
        """Of FreeMatch."""

        momentum: float = Field(
            0.999, ge=0, lt=1, description="of the running means that thresholds follow"
        )
        fairness: float = Field(
            0.05, ge=0, le=100, description="weight of the term that evens out the classes"
        )

    name = "freematch"

    def targets(self, weak: Tensor) -> tuple[Tensor, Tensor]:
        probs = self.aligned(weak).softmax(1)
        confidence, hard = top(probs)
        self._follow("confidence", confidence.mean(), 1 / weak.shape[1])
        self._follow("probs", probs.mean(0), 1 / weak.shape[1])
        self._follow("shares", hard.mean(0), 1 / weak.shape[1])
        means = self.state["probs"]
        ratio = torch.ones_like(means)
        ratio[self.own] = means[self.own] / means[self.own].max()
        limits = ratio * self.state["confidence"]
        return hard, (confidence >= limits[hard.argmax(1)]).to(weak.dtype)

    def others(self, strong: Tensor, kept: Tensor) -> Mapping[str, Tensor]:
        if not self.options.fairness:
            return {}
        probs, answers = strong.softmax(1), top(strong.detach())[1]
        counts = (kept[:, None] * answers).sum(0)[self.own]
        sums = (kept[:, None] * probs).sum(0)[self.own]
        there = counts > 0
        # 1 where it is not used, so that no gradient is infinite times nothing
        means = torch.where(there, sums, 1.0) / counts.clamp_min(1)
        b = means / (means * there).sum().clamp_min(torch.finfo(means.dtype).tiny)
        probs, shares = self.state["probs"][self.own], self.state["shares"][self.own]
        a = torch.where(shares > torch.finfo(shares.dtype).eps, probs / shares, 0.0)
        loss = torch.where(there, a / a.sum() * b.log(), 0.0).sum()
        return {"freematch_fairness": self.options.fairness * loss}

    def _follow(self, name: str, now: Tensor, first: float) -> None:
        if name not in self.state:
            self.state[name] = torch.full_like(now, first)
        self.state[name].lerp_(now, 1 - self.options.momentum)
