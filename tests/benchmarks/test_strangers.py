"""The benchmark of strangers: mixtures of the share that is stated, and what the tables count."""

import numpy as np
import pytest
from conftest import tiny_values

from benchmarks import strangers


@pytest.mark.parametrize("share", strangers.SHARES)
@pytest.mark.parametrize("num", [30, 900])
def test_a_mixture_has_the_share_of_strangers_that_is_stated(share, num):
    made = strangers.mixed(np.zeros((num, 2)), np.ones((354, 2)), share)
    assert made[:, 0].mean() == pytest.approx(share, abs=0.02)
    assert len(made) >= 30


def test_a_teacher_is_asked_about_digits_it_knows_and_others(project):
    of, temperature = strangers.ask(tiny_values(), seed=3)
    assert [each.probs.shape[1] for each in of] == [8, 8, 8]
    assert len(of[2].energy) == 354 and temperature > 0
    assert len(strangers.gaps(of, temperature)) == len(strangers.SHARES)
    known, foreign = strangers.passing(of)[:2]
    assert known == pytest.approx(strangers.KEEP, abs=0.05) and 0 <= foreign <= 1


def test_the_tables_count_seeds_and_shares():
    found = np.array([[0.0, 0.02, 0.08, 0.2, 0.3], [0.02, 0.04, 0.12, 0.1, 0.3]])
    lines = strangers.gap_table(found).splitlines()
    assert [line.split(" | ")[-1] for line in lines[2:]] == [f"{n} of 2 |" for n in (0, 0, 1, 2, 2)]
    assert lines[2].startswith("| 0% | 0.010 ± ")
    lines = strangers.filter_table(
        np.array([[0.9, 0.5, 0.8, 0.2], [0.9, 0.3, 0.8, 0.4]])
    ).splitlines()
    assert lines[2].startswith("| threshold | 90.0 ± 0.0 | 40.0 ± ")
    assert lines[3].startswith("| energy | 80.0 ± 0.0 | 30.0 ± ")
