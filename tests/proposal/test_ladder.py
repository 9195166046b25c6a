"""The rung that is chosen, with steps that a formula gives in the place of a clock."""

import pytest
import torch

from pipeline.networks import NETWORKS
from pipeline.proposal.ladder import LADDER, LEAST_STEPS, climb, rungs


def test_a_ladder_goes_down_in_sides_and_fits_every_photo():
    sides = [rung.side for rung in LADDER]
    assert sides == sorted(sides, reverse=True)
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


def test_the_work_of_a_rung_is_that_of_its_network():
    """Multiplications of an answer, counted by hooks on convolutions and linear layers."""
    for rung in LADDER:
        network = NETWORKS[rung.network].build(3, rung.width, 0.0).eval()
        counts = []

        def count(layer, _, output, counts=counts):
            each = layer.weight[0].numel()  # of an output number
            counts.append(each * output[0].numel())

        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                layer.register_forward_hook(count)
        with torch.no_grad():
            network(torch.zeros(1, 3, rung.side, rung.side))
        assert sum(counts) / 1e6 == pytest.approx(rung.work, rel=0.05)


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
