"""The loop: evaluates when it should, keeps what it should, stops when it must, goes on."""

import math
import os
import signal
from contextlib import contextmanager

import pytest
import torch
from learners import batch, equal_states, learner

from pipeline.core.errors import UserError
from pipeline.core.machine import Machine
from pipeline.running import signals
from pipeline.running.resume import Resume
from pipeline.running.run import Run
from pipeline.running.tracker import NullTracker
from pipeline.training.loop import train
from pipeline.training.optimizer import learning_rate


class Stopped(Exception):
    """Stands for a kill."""


class Given:
    """Batches as a test makes them; images 10 * step and on."""

    def __init__(self, make):
        self.make = make

    def __call__(self, step):
        return self.make(step)

    def rows(self, step):
        return {"labelled": list(range(10 * step, 10 * step + 12)), "pseudo": [7]}


class Log(NullTracker):
    """Keeps what it is given."""

    def __init__(self):
        self.logged = []

    def metrics(self, metrics, step=0):
        self.logged.append((step, dict(metrics)))


@contextmanager
def ended_by(number):
    """Within, a signal is handled as in a stage, and ends it with its exit code."""
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    signals.install()
    try:
        with pytest.raises(SystemExit) as ended:
            yield
    finally:
        signals._pending = None
        for one, handler in before.items():
            signal.signal(one, handler)
    assert ended.value.code == 128 + number


def run(
    made,
    *,
    accuracies=(),
    every=math.inf,
    batches=batch,
    folder="a",
    depends="a",
    evaluate=None,
    after=None,
):
    """Train; `accuracies` are what each evaluation gives; `after` is raised at the end. Returns
    history, and what was logged."""
    shown, tracker = iter(accuracies), Log()

    def measured(_):
        return {"val_acc": next(shown, 0.5), "val_loss": 1.0}

    machine = Machine.model_construct(checkpoint_seconds=every)
    given = Run(folder, "g1", 0, machine, torch.device("cpu"), tracker)
    with Resume(folder, depends) as resume:
        history = train(made, Given(batches), evaluate or measured, given, resume)
        if after:
            raise after
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
    with pytest.raises(UserError) as caught:
        run(made, every=-1)
    rate = learning_rate(made.training, 7)
    assert str(caught.value) == (
        f"error: g1, step 7: training diverged: the loss is nan, 2.32 at first (learning rate "
        f"{rate:.3g}; last good checkpoint: step 7; batch: labelled 70, 71, 72, 73, 74, 75, 76, 77 "
        f"and 4 more; pseudo 7); fix: {made.remedy}"
    )
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


@pytest.mark.parametrize(("times", "stops"), [(90, False), (110, True)])
def test_a_loss_that_explodes_stops_at_its_step(times, stops):
    """The first one is 4; what is less than 1 counts as 1."""
    made = learner(steps=15, evaluate_every=5)

    def losses(given):
        output, results = type(made).losses(made, given)
        loss = (
            results["loss"] / results["loss"].detach() * (4 * times if made.num_steps == 8 else 4)
        )
        return output, results | {"loss": loss}

    made.losses, made.training = losses, made.training.model_copy(update={"learning_rate": 1e-5})
    if stops:
        with pytest.raises(
            UserError, match=r"g1, step 8: training diverged: the loss is 440, 4 at"
        ):
            run(made)
    else:
        run(made)


@pytest.mark.parametrize("stop", [5, 10, 15])
def test_a_signal_in_an_evaluation_ends_it_and_the_evaluation_is_made_again(stop, capsys):
    """The checkpoint is of before the evaluation; the curve lacks no row and has none twice."""
    whole = learner(steps=15, dropout=0.5)
    expected = run(whole, folder="whole")[0]
    steps = iter([5, 10, 15])

    def signalled(_):
        if next(steps) == stop:
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("the signal waits")
        return {"val_acc": 0.5, "val_loss": 1.0}

    resumed = learner(steps=15, dropout=0.5)
    with ended_by(signal.SIGTERM):
        run(learner(steps=15, dropout=0.5), evaluate=signalled)
    assert f"g1: stopped after step {stop}; run again" in capsys.readouterr().err
    history, logged = run(resumed)
    assert history == expected and [step for step, _ in logged] == list(range(stop, 16, 5))
    assert equal_states(resumed.state(), whole.state())


def test_a_signal_in_a_step_waits_for_its_end(capsys):
    made = learner(steps=15)

    def signalled(step):
        if step == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return batch(step)

    with ended_by(signal.SIGINT):
        run(made, batches=signalled)
    assert made.num_steps == 8 and "stopped after step 8" in capsys.readouterr().err


def test_a_second_signal_leaves_at_once():
    made = learner(steps=15)

    def signalled(step):
        if step == 7:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
        return batch(step)

    with ended_by(signal.SIGTERM):
        run(made, batches=signalled)
    assert made.num_steps == 7


@pytest.mark.parametrize("keep", ["last", "best"])
def test_what_comes_after_a_training_can_be_interrupted_too(keep):
    whole, recipe = learner(steps=15, keep=keep), {"steps": 15, "keep": keep}
    expected = run(whole, accuracies=[0.2, 0.9, 0.5], folder="whole")[0]
    with pytest.raises(Stopped):
        run(learner(**recipe), accuracies=[0.2, 0.9, 0.5], after=Stopped)
    resumed, asked = learner(**recipe), []
    history, logged = run(resumed, batches=lambda step: asked.append(step))
    assert history == expected and asked == [] == logged
    assert equal_states(resumed.weights.state_dict(), whole.weights.state_dict())


def test_other_inputs_start_afresh_and_that_is_said(capsys):
    def stopping(step):
        if step == 7:
            raise Stopped
        return batch(step)

    with pytest.raises(Stopped):
        run(learner(steps=15), every=-1, batches=stopping)
    run(learner(steps=15), depends="other")
    said = capsys.readouterr().err
    assert "g1: starts afresh, not after step 7, where it was stopped: its params, inputs" in said
    run(learner(steps=15), folder="b")
    assert "afresh" not in capsys.readouterr().err


def test_other_threads_go_on_and_that_is_said(capsys):
    def stopping(step):
        if step == 7:
            raise Stopped
        return batch(step)

    before = torch.get_num_threads()
    with pytest.raises(Stopped):
        run(learner(steps=15), every=-1, batches=stopping)
    try:
        torch.set_num_threads(before + 1)
        made = learner(steps=15)
        run(made)
    finally:
        torch.set_num_threads(before)
    said = capsys.readouterr().err
    assert made.num_steps == 15 and "going on after step 7" in said
    assert f"{before} threads and goes on with torch {torch.__version__}, {before + 1} th" in said
