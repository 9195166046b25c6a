"""Which images to label next: uncertain ones, each of another kind.

Weighted clusters of what is uncertain (Zhdanov 2019, arXiv:1901.05954):

1. The generations' probabilities are averaged, so that an image on which they disagree (Seung et
   al. 1992, query by committee) is as uncertain as one that none of them can decide. Uncertainty is
   1 - (p1 - p2), the two largest means (margin sampling).
2. The `BETA * n` most uncertain images are candidates.
3. k-means with n centres in the last generation's features, of length 1, each image weighing as
   much as it is uncertain; of each cluster the candidate nearest to its centre is chosen: neither n
   views of one doubt, nor an outlier that stands for itself alone.

Unlike the paper's k-means nothing is drawn: centres begin greedily, as k-means++ would likely, so
that the same answers give the same list.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BETA = 5
ROUNDS = 50  # of k-means, at most
PIECE = 1 << 22  # distances at a time


def choose(probs: np.ndarray, features: np.ndarray, num: int, beta: int = BETA) -> np.ndarray:
    """Rows of `num` different images, the most uncertain first, int64.

    Args:
        probs: of G models, oldest first, (G, N, K); N at least `num`.
        features: of the last model, (N, F).
        beta: candidates for each row, at least 1.
    """
    doubt = uncertainty(probs)
    candidates = np.argsort(-doubt, kind="stable")[: beta * num]
    points, weight = unit(features[candidates]), np.maximum(doubt[candidates], 1e-6)
    centres = weighted_means(points, weight, num)
    chosen = candidates[nearest_different(points, centres)]
    return chosen[np.argsort(-doubt[chosen], kind="stable")]


def num_near(features: np.ndarray, chosen: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """How many of N images are nearer to each that is chosen than to the others and to any labelled
    one, itself among them: int64 (n,).

    Args:
        features: (N, F).
        chosen: rows, (n,).
        labelled: features, (M, F).
    """
    centres = np.concatenate([unit(features[chosen]), unit(labelled)])
    own = np.empty(len(features), dtype=np.int64)
    for rows in _pieces(len(features), max(centres.shape)):
        own[rows] = nearest(unit(features[rows]), centres)
    own[chosen] = np.arange(len(chosen))  # of equal images too
    return np.bincount(own, minlength=len(centres))[: len(chosen)]


def uncertainty(probs: np.ndarray) -> np.ndarray:
    """1 - (p1 - p2) of the mean over models, 0..1, float64 (N,).

    Args:
        probs: (G, N, K), K at least 2.
    """
    mean = np.zeros(probs.shape[1:])
    for one in probs:
        mean += one
    first = np.partition(mean / len(probs), -2, axis=1)
    return 1 - (first[:, -1] - first[:, -2])


def unit(features: np.ndarray) -> np.ndarray:
    """Rows of length 1, float64; zeros stay."""
    features = features.astype(np.float64)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(length, 1e-12)


def weighted_means(points: np.ndarray, weight: np.ndarray, num: int) -> np.ndarray:
    """Centres (num, F) of weighted k-means (Lloyd) of points (N, F).

    A cluster that loses all its points keeps its centre.
    """
    centres = points[spread(points, weight, num)]
    before = None
    for _ in range(ROUNDS):
        own = nearest(points, centres)
        if before is not None and np.array_equal(own, before):
            break
        before = own
        mass = np.bincount(own, weight, minlength=num)
        total = np.zeros_like(centres)
        np.add.at(total, own, weight[:, None] * points)
        held = mass > 0
        centres[held] = total[held] / mass[held, None]
    return centres


def spread(points: np.ndarray, weight: np.ndarray, num: int) -> np.ndarray:
    """Rows to begin with: the one of most weight, then always the one of most weight times its
    squared distance to those before; int64 (num,)."""
    rows = [int(weight.argmax())]
    far = squared(points, points[rows])[:, 0]
    while len(rows) < num:
        rows.append(int((weight * far).argmax()))
        far = np.minimum(far, squared(points, points[rows[-1:]])[:, 0])
    return np.array(rows, dtype=np.int64)


def nearest_different(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The row nearest to each centre that is nearest to none before it; int64."""
    rows: list[int] = []
    for centre in centres:
        far = squared(points, centre[None])[:, 0]
        far[rows] = np.inf
        rows.append(int(far.argmin()))
    return np.array(rows, dtype=np.int64)


def nearest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The centre nearest to each point, int64 (N,)."""
    own = np.empty(len(points), dtype=np.int64)
    for rows in _pieces(len(points), len(centres)):
        own[rows] = squared(points[rows], centres).argmin(1)
    return own


def squared(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distances (N, M) of points (N, F) to centres (M, F), at least 0."""
    lengths = (points**2).sum(1)[:, None] + (centres**2).sum(1)
    return np.maximum(lengths - 2 * points @ centres.T, 0)


def _pieces(num_rows: int, num_columns: int) -> Iterator[slice]:
    step = max(1, PIECE // num_columns)
    return (slice(start, start + step) for start in range(0, num_rows, step))
