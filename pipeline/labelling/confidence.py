"""How sure a teacher is of the unlabelled images, beside the val images, whose classes it knows.

The gap says early that the two are not of one kind: other classes, other cameras, other quality.
A teacher that has learnt from the unlabelled images is surer of them, and the gap smaller.
"""

from dataclasses import dataclass

import numpy as np

LARGE = 0.1  # a gap to warn of
QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Confidence:
    """Quartiles of the largest probability, lowest first, in 0..1, of the images of two splits."""

    val: list[float]
    unlabelled: list[float]

    @property
    def gap(self) -> float:
        """How much less sure it is of the unlabelled images, by the medians."""
        return self.val[1] - self.unlabelled[1]

    @property
    def is_large(self) -> bool:
        """Whether to warn."""
        return self.gap >= LARGE


def confidence(val: np.ndarray, unlabelled: np.ndarray) -> Confidence:
    """Of probabilities (N, K) each."""
    return Confidence(*(np.quantile(p.max(1), QUARTILES).tolist() for p in (val, unlabelled)))
