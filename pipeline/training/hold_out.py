"""Images kept from a training, as many of each class."""

import numpy as np


def hold_out(labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Rows of a share of each class, sorted, int64.

    Args:
        labels: int64 (N,).
        share: of the smallest class, rounded, of every class so many: at least one if the share is
            not 0, and never a class's last image.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if not share or not len(classes):
        return np.zeros(0, dtype=np.int64)
    num = min(max(1, round(share * counts.min())), counts.min() - 1)
    rows = [rng.permutation(np.flatnonzero(labels == c))[:num] for c in classes]
    return np.sort(np.concatenate(rows))
