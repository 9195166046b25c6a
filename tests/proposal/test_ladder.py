"""The rung that is chosen, with steps that a formula gives in the place of a clock."""

import pytest

from pipeline.proposal.ladder import LADDER, LEAST_STEPS, climb, rungs


def test_a_ladder_goes_down_in_work_and_fits_every_photo():
    works = [rung.work for rung in LADDER]
    assert works == sorted(works, reverse=True)
    for side in range(1, 600):
        fit = rungs(side)
        assert fit and all(rung.side <= side for rung in fit)


@pytest.mark.parametrize(("side", "largest"), [(512, 224), (64, 64), (40, 40), (28, 28), (5, 5)])
def test_photos_of_odd_sizes_are_not_enlarged_nor_shrunk_for_little(side, largest):
    assert max(rung.side for rung in rungs(side)) == largest


def test_a_rung_that_photos_are_far_too_small_for_is_none_of_theirs():
    """Its work would be told wrong."""
    for side in range(8, 600):
        for rung in rungs(side):
            (own,) = [r for r in LADDER if r._replace(side=rung.side) == rung]
            assert own.side <= 1.25 * side


@pytest.mark.parametrize("power", [10**exponent for exponent in range(2, 9)])
@pytest.mark.parametrize("overhead", [0.0, 5.0])
def test_the_climb_finds_the_highest_rung_with_steps_enough(power, overhead):
    """Small networks are slower than their work says; the truth is by trying all."""
    asked = []

    def steps(rung):
        asked.append(rung)
        return power / (rung.work + overhead)

    ladder = rungs(512)
    best = next((r for r in ladder if steps(r) >= LEAST_STEPS), ladder[-1])
    asked.clear()
    assert climb(ladder, steps) == best
    assert len(asked) == len(set(asked)) <= 4
