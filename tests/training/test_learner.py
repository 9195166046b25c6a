"""One update: every weight moves at the rate of the step; the average is brute force's."""

import math

import pytest
import torch
from learners import TRAINING, batch, learner, network, part, seeded_step

from pipeline.training.average import share
from pipeline.training.optimizer import learning_rate, make_optimizer

BOTH = pytest.mark.parametrize("optimizer", ["sgd", "adamw"])


@BOTH
def test_every_step_changes_every_weight(optimizer):
    made = learner(optimizer=optimizer)
    for step in range(3):
        before = {n: p.detach().clone() for n, p in made.network.named_parameters()}
        seeded_step(made, step)
        assert all(p.grad.any() for p in made.network.parameters())
        same = [n for n, p in made.network.named_parameters() if torch.equal(p, before[n])]
        assert same == []


@BOTH
def test_a_few_steps_learn_one_batch(optimizer):
    made = learner(optimizer=optimizer, steps=60, learning_rate=0.02)
    losses = [made.step({"labelled": part(8)})["loss"].item() for _ in range(60)]
    assert losses[-1] < 0.1 * losses[0]


def test_a_step_reports_detached_losses():
    assert not any(value.requires_grad for value in learner().step(batch()).values())


def test_gradients_are_clipped_to_their_norm():
    def moved(clip_norm):
        made = learner(clip_norm=clip_norm, weight_decay=0.0, warmup_steps=0, ema=0.0)
        before = [p.detach().clone() for p in made.network.parameters()]
        seeded_step(made, 0)
        pairs = zip(made.network.parameters(), before)
        return math.sqrt(sum((p - b).square().sum().item() for p, b in pairs))

    step = 0.05 * 1.9  # the rate, and what Nesterov's first step adds
    assert moved(1e-3) == pytest.approx(step * 1e-3, rel=0.01)
    assert moved(1e6) == moved(0.0) > moved(1e-3)


def test_weight_decay_spares_biases_and_norms():
    groups = make_optimizer(network().parameters(), TRAINING).param_groups
    decays = {g["weight_decay"]: {p.ndim for p in g["params"]} for g in groups}
    assert decays == {5e-4: {2, 4}, 0.0: {1}}
    assert sum(len(g["params"]) for g in groups) == len(list(network().parameters()))


def test_the_rate_rises_linearly_then_falls_as_a_half_cosine():
    rates = [learning_rate(TRAINING, step) for step in range(21)]
    assert rates[:4] == pytest.approx([0.05 / 3, 0.1 / 3, 0.05, 0.05])
    assert all(a > b for a, b in zip(rates[3:], rates[4:]))
    expected = [0.025 * (1 + math.cos(math.pi * (step - 3) / 17)) for step in range(3, 21)]
    assert rates[3:] == pytest.approx(expected)
    assert rates[20] == learning_rate(TRAINING, 99) == 0


def test_the_optimiser_works_at_the_rate_of_the_step():
    made = learner()
    for step in range(5):
        seeded_step(made, step)
        rates = {group["lr"] for group in made.optimizer.param_groups}
        assert rates == {learning_rate(TRAINING, step)}


# --- the average ------------------------------------------------------------------------------


def test_the_average_equals_brute_force_with_the_statistics_of_batch_norm():
    made = learner()
    expected = {k: v.double() for k, v in made.network.state_dict().items()}
    for step in range(15):
        seeded_step(made, step)
        decay = min(0.9, (2 + step) / (11 + step))
        for key, value in made.network.state_dict().items():
            if value.is_floating_point():
                expected[key] = decay * expected[key] + (1 - decay) * value.double()
            else:
                expected[key] = value.double()
    results = made.weights.state_dict()
    assert any("running_var" in key for key in results)
    for key, value in expected.items():
        assert torch.allclose(results[key].double(), value, atol=1e-5), key
    assert not torch.allclose(
        results["heads.task_base.weight"], made.network.heads["task_base"].weight
    )


@pytest.mark.parametrize(("step", "decay"), [(1, 2 / 11), (8, 0.5), (1000, 0.9)])
def test_the_first_weights_are_soon_forgotten(step, decay):
    assert share(0.9, step) == pytest.approx(1 - decay)


def test_the_average_ships_takes_no_gradient_and_stays_in_eval_mode():
    made = learner()
    seeded_step(made, 0)
    assert made.weights is made.ema and not made.ema.training
    assert all(p.grad is None and not p.requires_grad for p in made.ema.parameters())


def test_without_an_average_the_network_ships():
    made = learner(ema=0.0)
    assert made.weights is made.network and made.ema is None
