"""An interrupted training goes on with all that its methods know, bit for bit."""

import math

import pytest
import torch
from learners import batch, equal_states, learner
from torch import nn

from pipeline.core.block import Block
from pipeline.core.machine import Machine
from pipeline.running.resume import Resume
from pipeline.running.run import Run
from pipeline.running.tracker import NullTracker
from pipeline.training.loop import train
from pipeline.training.method import Method

STEPS = 9
STOP = 4


class Memory(Method):
    """Holds the features near their mean over all steps so far, as a map of its own sees them."""

    def __init__(self):
        super().__init__(Block())
        torch.manual_seed(1)
        self.module = nn.Linear(16, 16)
        self.state = {"mean": torch.zeros(16), "steps": torch.tensor(0)}

    def losses(self, network, batch, output):
        seen = self.module(output.features[:, :16])
        return {"memory": (seen - self.state["mean"]).square().mean()}

    def after_step(self, network, batch, output):
        mean = output.features[:, :16].detach().mean(0)
        self.state["steps"] = self.state["steps"] + 1
        self.state["mean"] = self.state["mean"] + (mean - self.state["mean"]) / self.state["steps"]


class Stopped(Exception):
    """Stands for a kill."""


def remembering():
    return learner(steps=STEPS, dropout=0.3, methods={"memory": Memory()})


def run(made, stop=math.inf):
    """Train with a checkpoint after each step; a kill before step `stop`."""

    def batches(step):
        if step == stop:
            raise Stopped
        return batch(step)

    machine = Machine.model_construct(checkpoint_seconds=-1)
    given = Run("a", "g1", 0, machine, torch.device("cpu"), NullTracker())
    with Resume("a", "a") as resume:
        train(made, batches, lambda _: {"val_acc": 0.5, "val_loss": 1.0}, given, resume)
    return made


def modules(made):
    return made.methods["memory"].module.state_dict()


@pytest.fixture(autouse=True)
def work_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def whole():
    """Trained without an interruption."""
    return run(remembering())


def test_what_a_method_knows_goes_on_bit_for_bit(whole):
    with pytest.raises(Stopped):
        run(remembering(), STOP)
    resumed = run(remembering())
    assert equal_states(resumed.state(), whole.state())
    assert equal_states(resumed.methods["memory"].state, whole.methods["memory"].state)
    assert equal_states(modules(resumed), modules(whole))
    assert int(resumed.methods["memory"].state["steps"]) == STEPS
    assert not equal_states(modules(whole), Memory().module.state_dict())


@pytest.mark.parametrize("lost", ["method/memory/mean", "method/memory/steps", "module/memory/"])
def test_a_checkpoint_without_a_piece_of_it_does_not_go_on_alike(whole, lost, monkeypatch):
    with pytest.raises(Stopped):
        run(remembering(), STOP)
    newest, fresh = Resume.newest, remembering().state()

    def poorer(self):
        state, notes = newest(self)
        results = {key for key in state if key.startswith(lost)}
        assert results
        return state | {key: fresh[key] for key in results}, notes

    monkeypatch.setattr(Resume, "newest", poorer)
    resumed = run(remembering())
    assert not equal_states(resumed.network.state_dict(), whole.network.state_dict())
