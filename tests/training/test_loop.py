"""The loop: evaluates when it should, keeps what it should, stops when it must, goes on."""

import math

import pytest
import torch
from learners import batch, equal_states, learner

from pipeline.core.errors import UserError
from pipeline.core.machine import Machine
from pipeline.running.resume import Resume
from pipeline.running.run import Run
from pipeline.running.signals import Stop
from pipeline.running.tracker import NullTracker
from pipeline.training.loop import train
from pipeline.training.optimizer import learning_rate


class Stopped(Exception):
    """Stands for a kill."""


class Log(NullTracker):
    """Keeps what it is given."""

    def __init__(self):
        self.logged = []

    def metrics(self, metrics, step=0):
        self.logged.append((step, dict(metrics)))


def run(made, *, accuracies=(), every=math.inf, batches=batch, folder="a"):
    """Train; `accuracies` are what each evaluation gives. Returns history, and what was logged."""
    shown, tracker = iter(accuracies), Log()

    def evaluate(_):
        return {"val_acc": next(shown, 0.5), "val_loss": 1.0}

    machine = Machine.model_construct(checkpoint_seconds=every)
    given = Run(folder, "g1", 0, machine, torch.device("cpu"), tracker)
    with Resume(folder, folder) as resume:
        history = train(made, batches, evaluate, given, resume, Stop())
    return history, tracker.logged


@pytest.fixture(autouse=True)
def work_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_there_is_an_evaluation_every_so_many_steps_and_at_the_end():
    history, logged = run(learner(steps=12, evaluate_every=5))
    assert [row["step"] for row in history] == [5, 10, 12]
    assert logged == [(row["step"], row) for row in history]
    keys = ["step", "learning_rate", "loss", "labelled", "pseudo", "val_acc", "val_loss"]
    assert all(list(row) == keys for row in history)


def test_a_row_holds_the_mean_losses_since_the_last_evaluation():
    made, losses = learner(steps=7, evaluate_every=4), []
    step = made.step
    made.step = lambda given: losses.append(step(given)) or losses[-1]
    history, _ = run(made)
    for row, part in zip(history, (losses[:4], losses[4:])):
        for name in ("loss", "labelled", "pseudo"):
            assert row[name] == pytest.approx(sum(p[name].item() for p in part) / len(part))
        assert row["learning_rate"] == learning_rate(made.training, row["step"] - 1)


@pytest.mark.parametrize(
    ("keep", "accuracies", "steps"),
    [
        ("last", [0.9, 0.1, 0.2], 15),
        ("best", [0.1, 0.9, 0.2], 10),
        ("best", [0.3, 0.3, 0.3], 5),
        ("best", [0.1, 0.2, 0.3], 15),
        ("best", [0.0, 0.0, 0.0], 5),
    ],
)
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_last_or_the_first_best_weights_ship(keep, accuracies, steps, ema):
    made = learner(steps=15, keep=keep, ema=ema)
    run(made, accuracies=accuracies)
    other = learner(steps=15, ema=ema)  # the whole schedule, stopped at the step that ships
    for step in range(steps):
        torch.manual_seed(0)
        other.step(batch(step))
    assert equal_states(made.weights.state_dict(), other.weights.state_dict())


def test_dropout_depends_on_the_step_alone():
    one, other = learner(steps=4, dropout=0.5), learner(steps=4, dropout=0.5)
    run(one)
    torch.manual_seed(123)
    run(other)
    assert equal_states(one.state(), other.state())


@pytest.mark.parametrize("stop", [2, 5, 7, 14])
@pytest.mark.parametrize("keep", ["last", "best"])
def test_a_training_that_was_stopped_goes_on_bit_for_bit(stop, keep):
    recipe = {"steps": 15, "keep": keep, "dropout": 0.5}
    accuracies = [0.4, 0.6, 0.5]
    whole = learner(**recipe)
    expected = run(whole, accuracies=accuracies, folder="whole")[0]

    def stopping(step):
        if step == stop:
            raise Stopped
        return batch(step)

    with pytest.raises(Stopped):
        run(learner(**recipe), accuracies=accuracies, every=-1, batches=stopping)
    resumed, asked = learner(**recipe), []
    history = run(
        resumed,
        accuracies=accuracies[stop // 5 :],
        every=-1,
        batches=lambda step: asked.append(step) or batch(step),
    )[0]
    assert asked == list(range(stop, 15))
    assert equal_states(resumed.state(), whole.state())
    assert equal_states(resumed.weights.state_dict(), whole.weights.state_dict())
    assert history == expected
    assert [list(row) for row in history] == [list(row) for row in expected]


@pytest.mark.parametrize("piece", ["network/", "ema/", "optimizer/", "num_steps", "since"])
def test_a_checkpoint_that_lost_a_piece_does_not_go_on_alike(piece, monkeypatch):
    whole = learner(steps=15)
    expected = run(whole, folder="whole")[0]

    def stopping(step):
        if step == 7:
            raise Stopped
        return batch(step)

    with pytest.raises(Stopped):
        run(learner(steps=15), every=-1, batches=stopping)
    newest, fresh = Resume.newest, learner(steps=15).state()

    def poorer(self):
        state, notes = newest(self)
        lost = {key for key in state if key.startswith(piece)}
        kept = {k: v for k, v in state.items() if k not in lost}
        return kept | {k: fresh[k] for k in lost & fresh.keys()}, notes

    monkeypatch.setattr(Resume, "newest", poorer)
    resumed = learner(steps=15)
    history = run(resumed)[0]
    if piece == "since":
        assert history != expected
    else:
        assert not equal_states(resumed.state(), whole.state())


def test_a_loss_that_is_not_finite_stops_with_its_step_and_no_checkpoint_after():
    made = learner(steps=15, evaluate_every=5)

    def losses(given):
        output, results = type(made).losses(made, given)
        bad = made.num_steps == 7
        return output, {k: v * math.nan if bad else v for k, v in results.items()}

    made.losses = losses
    with pytest.raises(UserError, match=r"g1, step 7: training diverged \(loss nan, learning rate"):
        run(made, every=-1)
    with Resume("a", "a") as resume:
        state, _ = resume.newest()
    assert int(state["num_steps"]) == 7 and state["network/heads.task_base.weight"].isfinite().all()


def test_weights_that_are_not_finite_stop_it_too():
    made = learner(steps=5, evaluate_every=5)
    apply = made.apply

    def broken():
        apply()
        with torch.no_grad():
            next(made.network.parameters()).fill_(math.inf if made.num_steps == 5 else 0.1)

    made.apply = broken
    with pytest.raises(UserError, match="training diverged"):
        run(made)
