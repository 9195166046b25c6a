"""Classes that a model confuses (Hinton et al. 2015, arXiv:1503.02531, section 5.3)."""

import numpy as np
from sklearn.cluster import KMeans

from pipeline.core import randomness


def confused(probs: np.ndarray, num: int, seed: int, name: str) -> list[list[int]]:
    """Subsets of classes that a model gives high probabilities to together: K-means on the columns
    of the covariance of its answers. Each class is in one of them, in the order of the first class.

    Args:
        probs: answers (N, K), N >= 2.
        num: subsets, at most K; fewer come out where classes are answered all alike.
        seed, name: of the draw of the first centres.
    """
    columns = np.cov(probs, rowvar=False)
    state = randomness.generator(seed, name, "subsets").integers(2**31)
    with np.errstate(all="ignore"):
        means = KMeans(num, n_init=10, random_state=int(state)).fit(columns)
    groups: dict[int, list[int]] = {}
    for column, group in enumerate(means.labels_):
        groups.setdefault(int(group), []).append(column)
    return sorted(groups.values())
