"""FixMatch (Sohn et al. 2020, arXiv:2001.07685).

    L = weight * mean over all unlabelled of 1[max p_w >= threshold] * H(argmax p_w, p_s)

p_w and p_s are the answers to the weak and the strong view.
"""

from pydantic import Field
from torch import Tensor

from pipeline.methods.semi_supervised.consistency import Consistency, top


class FixMatch(Consistency):
    """FixMatch (Sohn et al. 2020): the strong view is to be of the class that the weak one surely
    is.

    Alone, or with methods that do not compare two views themselves.
    """

    class Options(Consistency.Options):
        """Of FixMatch."""

        threshold: float = Field(0.95, ge=0, le=1, description="least confidence on the weak view")

    name = "fixmatch"

    def targets(self, weak: Tensor) -> tuple[Tensor, Tensor]:
        confidence, hard = top(self.aligned(weak).softmax(1))
        return hard, (confidence >= self.options.threshold).to(weak.dtype)
