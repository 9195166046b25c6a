"""How sure a share is, and the difference of two: 95 % intervals."""

from math import sqrt

import numpy as np
from scipy.stats import binomtest

Z = 1.959964  # 95 % of a normal distribution


def wilson(right: int, num: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of the share `right / num`; `nan` where `num` is 0."""
    if not num:
        return float("nan"), float("nan")
    low, high = binomtest(right, num).proportion_ci(method="wilson")
    return float(low), float(high)


def gain(mine: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """Difference of two models' accuracy on the same images, and its 95 % interval.

    The interval is Bonett and Price's (2012) for paired proportions: Wald's, with one more image
    on which each is the only one to be right.

    Args:
        mine, theirs: whether each is right, bool (N,).
    """
    num, won, lost = len(mine), int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
    up, down = (won + 1) / (num + 2), (lost + 1) / (num + 2)
    half = Z * sqrt((up + down - (up - down) ** 2) / (num + 2))
    return (won - lost) / num, up - down - half, up - down + half
