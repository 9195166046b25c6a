"""A learner's state: whole, and a picture that further steps do not change."""

import pytest
import torch
from learners import equal_states, learner, saved, seeded_step

BOTH = pytest.mark.parametrize("optimizer", ["sgd", "adamw"])


@BOTH
@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("after", [0, 1, 6])
def test_a_restored_learner_goes_on_bit_for_bit(optimizer, ema, after):
    whole = learner(optimizer=optimizer, ema=ema, dropout=0.3)
    for step in range(after):
        seeded_step(whole, step)
    restored = learner(optimizer=optimizer, ema=ema, dropout=0.3)
    with torch.no_grad():
        [weight.add_(1) for weight in restored.network.parameters()]
    restored.load_state(saved(whole))
    for step in range(after, after + 5):
        losses = [seeded_step(made, step) for made in (whole, restored)]
        assert equal_states(*losses)
    assert equal_states(whole.state(), restored.state())


@BOTH
@pytest.mark.parametrize(
    "lost",
    [
        "network/heads.task_base.weight",
        "network/backbone.layers.1.running_mean",
        "ema/heads.task_base.weight",
        "ema/backbone.layers.1.running_var",
        "optimizer/",
        "num_steps",
    ],
)
def test_losing_any_piece_of_the_state_shows(optimizer, lost):
    whole = learner(optimizer=optimizer)
    fresh = saved(learner(optimizer=optimizer))
    for step in range(6):
        seeded_step(whole, step)
    state = {k: fresh.get(k) if k.startswith(lost) else v for k, v in saved(whole).items()}
    restored = learner(optimizer=optimizer)
    restored.load_state({k: v for k, v in state.items() if v is not None})
    for step in range(6, 9):
        seeded_step(whole, step)
        seeded_step(restored, step)
    assert not equal_states(whole.state(), restored.state())


def test_the_state_is_a_picture_that_further_steps_would_change():
    made = learner()
    seeded_step(made, 0)
    before = saved(made)
    seeded_step(made, 1)
    changed = {k for k, v in made.state().items() if not torch.equal(v, before[k])}
    kinds = {key.split("/")[0] for key in changed}
    assert kinds == {"network", "ema", "optimizer", "num_steps"}
