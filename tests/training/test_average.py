"""The moving average: after restores, by a share on the device, and all counts at once."""

import copy

import pytest
import torch
from learners import equal_states, learner, network, saved, seeded_step

from pipeline.networks.batch_norm import BatchCounts
from pipeline.training.average import Average


def stirred(seed=1):
    """The network, and an average of it from before it was changed in place."""
    made = network()
    average = Average(made)
    torch.manual_seed(seed)
    with torch.no_grad():
        for value in [*made.parameters(), *made.buffers()]:
            value.add_(torch.randint_like(value, 1, 9).to(value.dtype))
    return made, average


def test_a_share_on_the_device_gives_the_same_up_to_rounding():
    (_, one), (_, other) = stirred(), stirred()
    other.share = torch.tensor(0.0)
    for step in (1, 5, 40):
        for average in (one, other):
            average.pace(0.9, step)
            average.move()
    pairs = zip(one.network.state_dict().items(), other.network.state_dict().values())
    for (key, value), theirs in pairs:
        assert torch.allclose(value.float(), theirs.float(), rtol=1e-6), key
    assert isinstance(other.share, torch.Tensor) and not isinstance(one.share, torch.Tensor)


def test_counts_are_copied_not_averaged():
    made, average = stirred()
    average.share = 0.5
    average.move()
    counts = {k: v for k, v in average.network.state_dict().items() if k.endswith("tracked")}
    assert counts and all(torch.equal(made.state_dict()[k], v) for k, v in counts.items())


def test_the_average_goes_on_after_weights_were_put_back():
    made, other = learner(), learner()
    for step in range(3):
        seeded_step(made, step)
    other.load_state(saved(made))
    picture = other.snapshot()
    seeded_step(other, 3)
    assert not equal_states(picture, other.snapshot())
    other.restore(picture)
    assert equal_states(picture, other.snapshot())
    before = other.snapshot()
    other.average.share = 1.0
    other.average.move()
    ours, theirs = other.snapshot(), other.network.state_dict()
    assert not equal_states(before, ours)
    assert all(torch.allclose(ours[k], theirs[k], atol=1e-6) for k in ours)


@pytest.mark.parametrize("frozen", [False, True])
def test_batches_are_counted_as_each_layer_would(frozen):
    mine, theirs = network(), network()
    images = torch.rand(4, 1, 8, 8)
    for made in (mine, theirs):
        made.train()
        if frozen:
            next(m for m in made.modules() if isinstance(m, torch.nn.BatchNorm2d)).eval()
    counts = BatchCounts(mine)
    for _ in range(3):
        theirs(images)
        with counts.together():
            mine(images)
    assert equal_states(mine.state_dict(), theirs.state_dict())
    tracked = {int(v) for k, v in mine.state_dict().items() if k.endswith("tracked")}
    assert tracked == ({0, 3} if frozen else {3})


def test_an_average_over_all_batches_is_left_to_count_them():
    made = network()
    for norm in made.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = None
    other = copy.deepcopy(made)
    for step in range(3):
        torch.manual_seed(step)
        images = torch.rand(4, 1, 8, 8)
        other.train()(images)
        with BatchCounts(made.train()).together():
            made(images)
    assert equal_states(made.state_dict(), other.state_dict())


def test_counts_are_back_after_an_error():
    made = network()
    before = copy.deepcopy(made.state_dict())
    with pytest.raises(ZeroDivisionError), BatchCounts(made.train()).together():
        raise ZeroDivisionError
    assert equal_states(made.state_dict(), before)
