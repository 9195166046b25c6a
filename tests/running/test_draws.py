"""The noise inside a network is drawn anew at each step, for each model and each phase."""

import pytest
import torch
from learners import batch, equal_states, learner

from pipeline.core.machine import Machine
from pipeline.running.resume import Resume
from pipeline.running.run import Run
from pipeline.running.tracker import NullTracker
from pipeline.training.loop import train

STEPS = 5


def run(name="g1", seed=0, phase=""):
    """The trained learner, and torch's seed at each of its steps."""
    made, seeds = learner(steps=STEPS, dropout=0.5), []
    step = made.step
    made.step = lambda given: seeds.append(torch.initial_seed()) or step(given)
    given = Run(name, name, seed, Machine(), torch.device("cpu"), NullTracker())
    given = given.phase(phase) if phase else given
    with Resume(given.stage, "a") as resume:
        measured = {"val_acc": 0.5, "val_loss": 1.0}
        train(made, batch, lambda _: measured, given, resume)
    return made, seeds


@pytest.fixture(autouse=True)
def work_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_step_has_a_seed_of_its_own():
    assert len(set(run()[1])) == STEPS


@pytest.mark.parametrize("other", [{"name": "g2"}, {"seed": 1}, {"phase": "fine_tune"}], ids=str)
def test_another_model_seed_or_phase_has_other_draws_on_the_same_batches(other):
    (one, seeds), (two, others) = run(), run(**other)
    assert not set(seeds) & set(others)
    assert not equal_states(one.network.state_dict(), two.network.state_dict())


def test_the_same_model_has_the_same_draws_whatever_was_drawn_before():
    one, seeds = run()
    torch.manual_seed(123)
    two, again = run()
    assert seeds == again and equal_states(one.state(), two.state())
