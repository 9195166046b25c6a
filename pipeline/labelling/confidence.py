"""How sure a teacher is of the unlabelled images, beside the val images, whose classes it knows.

A gap says early that the two are not of one kind: other classes, other cameras, other quality. By
the quartiles, as strangers are seen in the lower one first where most images are clear to the
teacher; at its calibration temperature, as a teacher that is too sure is so of all images
(benchmarks/RESULTS.md has how many are found). A teacher that has learnt from the unlabelled images
is surer of them, and the gap smaller.
"""

from dataclasses import dataclass

import numpy as np

LARGE = 0.1  # a gap to warn of
QUARTILES = (0.25, 0.5, 0.75)
PIECE = 4096  # images at a time


@dataclass(frozen=True)
class Confidence:
    """Quartiles of the largest probability, lowest first, in 0..1, of the images of two splits."""

    val: list[float]
    unlabelled: list[float]

    @property
    def gap(self) -> float:
        """How much less sure it is of the unlabelled images: the largest fall of a quartile."""
        return max(known - other for known, other in zip(self.val, self.unlabelled))

    @property
    def is_large(self) -> bool:
        """Whether to warn."""
        return self.gap >= LARGE


def confidence(val: np.ndarray, unlabelled: np.ndarray, temperature: float) -> Confidence:
    """Of probabilities (N, K) each, as they are at a temperature of the logits (1 = unchanged)."""
    largest = (scaled(probs, temperature) for probs in (val, unlabelled))
    return Confidence(*(np.quantile(each, QUARTILES).tolist() for each in largest))


def scaled(probs: np.ndarray, temperature: float) -> np.ndarray:
    """The largest of softmax(log p / temperature), float64 (N,), of probabilities (N, K)."""
    result = np.empty(len(probs))
    for start in range(0, len(probs), PIECE):
        rows = slice(start, start + PIECE)
        logits = np.log(np.maximum(probs[rows], np.finfo(np.float64).tiny)) / temperature
        result[rows] = 1 / np.exp(logits - logits.max(1, keepdims=True)).sum(1)
    return result
