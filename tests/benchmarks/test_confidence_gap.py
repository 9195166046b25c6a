"""The benchmark of the confidence gap: mixtures of the share that is stated, and the table."""

import numpy as np
import pytest

from benchmarks import confidence_gap


@pytest.mark.parametrize("share", confidence_gap.SHARES)
@pytest.mark.parametrize("num", [30, 900])
def test_a_mixture_has_the_share_of_strangers_that_is_stated(share, num):
    known, foreign = np.zeros((num, 2)), np.ones((354, 2))
    made = confidence_gap.mixed(known, foreign, share)
    assert made[:, 0].mean() == pytest.approx(share, abs=0.02)
    assert len(made) >= 30


def test_the_table_counts_the_seeds_that_are_warned_of():
    measured = np.array([[0.0, 0.02, 0.08, 0.2, 0.3], [0.02, 0.04, 0.12, 0.1, 0.3]])
    lines = confidence_gap.table(measured).splitlines()
    assert [line.split(" | ")[-1] for line in lines[2:]] == [f"{n} of 2 |" for n in (0, 0, 1, 2, 2)]
    assert lines[2].startswith("| 0% | 0.010 ± ")
