"""Intervals against their closed formulas, and what they promise by simulation."""

from math import sqrt

import numpy as np
import pytest
from scipy.stats import norm

from pipeline.report.intervals import gain, wilson


@pytest.mark.parametrize(
    ("right", "num"), [(0, 20), (1, 3), (5, 10), (19, 20), (20, 20), (901, 1000), (1, 100_000)]
)
def test_wilsons_interval_is_the_closed_formula(right, num):
    z, share = norm.ppf(0.975), right / num
    centre = (share + z * z / (2 * num)) / (1 + z * z / num)
    half = z / (1 + z * z / num) * sqrt(share * (1 - share) / num + z * z / (4 * num * num))
    assert wilson(right, num) == pytest.approx((centre - half, centre + half), abs=1e-12)


def test_wilsons_interval_by_hand_and_of_no_images():
    assert wilson(5, 10) == pytest.approx((0.236593, 0.763407), abs=1e-5)
    assert all(np.isnan(wilson(0, 0)))


def test_gain_is_that_of_the_pairs():
    mine = np.array([True] * 8 + [False] * 2)
    theirs = np.array([True] * 5 + [False] * 5)
    change, low, high = gain(mine, theirs)
    assert change == pytest.approx(0.3)
    # by hand: 3 won, 0 lost of 10 -> (4/12, 1/12), variance (5/12 - 1/16) / 12
    half = 1.959964 * ((5 / 12 - 1 / 16) / 12) ** 0.5
    assert (low, high) == pytest.approx((0.25 - half, 0.25 + half))


def test_gain_covers_the_truth_in_about_95_of_100():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        shared = rng.random(150)
        mine = shared < 0.85
        theirs = (shared < 0.75) ^ (rng.random(150) < 0.1)
        _, low, high = gain(mine, theirs)
        hits += low < 0.85 - (0.75 * 0.9 + 0.25 * 0.1) < high
    assert 930 <= hits <= 985
