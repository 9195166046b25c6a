"""The one training loop: batch, step; now and then evaluate on val, keep a checkpoint, report."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipeline.core import randomness
from pipeline.data.batches import Batches
from pipeline.running import signals
from pipeline.running.progress import progress
from pipeline.running.resume import Resume
from pipeline.running.run import Run
from pipeline.training.capture import stepping
from pipeline.training.learner import Learner
from pipeline.training.watch import Watch

Row = dict[str, float]


def _made_with() -> str:
    """What another choice of changes nothing but the last bits."""
    return f"torch {torch.__version__}, {torch.get_num_threads()} threads"


@dataclass
class Progress:
    """What the loop keeps, apart from the learner.

    Attributes:
        history: a row for each evaluation.
        since: the losses of each step since the last one, on the device.
        rate: the learning rate of the last step.
        first: the loss of the first step, which a later one is not to be far above.
        best: the weights with the highest `leading` score on val so far, with `keep: best`.
        best_val_acc: that score.
        made_with: what it began with, on which its last bits depend.
    """

    history: list[Row] = field(default_factory=list)
    since: list[dict[str, Tensor]] = field(default_factory=list)
    rate: float = 0.0
    first: float | None = None
    best: dict[str, Tensor] = field(default_factory=dict)
    best_val_acc: float = -1.0
    made_with: str = field(default_factory=_made_with)


def train(
    learner: Learner,
    batches: Batches,
    evaluate: Callable[[Learner], Mapping[str, float]],
    run: Run,
    resume: Resume,
    first_step: int = 0,
) -> list[Row]:
    """Train to the recipe's last step, from the newest resume checkpoint if there is one.

    A signal ends it at the end of the step, or in mid-evaluation, with a checkpoint. There is one
    at the end as well, so that what comes after the training can be interrupted too.

    Args:
        learner: left with the weights that ship: the last, or (`keep: best`) those with the
            highest `val_acc` (of pixels: `val_miou`) at an evaluation, the first of equals.
        batches: a pure function of the step.
        evaluate: measures the learner's weights: `val_acc` in 0..1, `val_loss`.
        run: its name and seed are what dropout draws depend on, with the step.
        resume: where interrupted work is kept.
        first_step: steps of an earlier training that this one goes on from, for the curves.

    Returns:
        a row per evaluation: `step`, `learning_rate`, the mean of each loss since the last one,
        and what `evaluate` gave.

    Raises:
        UserError: see `Watch`; no checkpoint is written after what it saw.
        SystemExit: stopped by a signal; a checkpoint was written.
    """
    training = learner.training
    state = _restore(learner, resume)
    update = stepping(learner, batches, run.machine)
    watch = Watch(learner, batches, run.name, resume)
    _say_where_it_begins(learner, resume, state, run)
    saved, due = time.monotonic(), False
    with signals.deferred() as stop, progress(training.steps, learner.num_steps, run.name) as bar:
        while True:
            if _evaluation_is_due(learner, state, first_step):
                with watch.told(), _kept_when_stopped(learner, resume, state, run.name):
                    measured = evaluate(learner)
                row = {"step": first_step + learner.num_steps, "learning_rate": state.rate}
                row |= _means(state.since) | dict(measured)
                _record(learner, state, row)
                run.tracker.metrics(row, first_step + learner.num_steps)
                shown = f"loss {row['loss']:.3f} val {leading(row):.3f}"
                bar.set_postfix_str(shown, refresh=False)  # a log has its own pace
            finished = learner.num_steps >= training.steps
            if due or finished:
                _keep(learner, resume, state)
                saved = time.monotonic()
            if stop.code and due:
                _stopped(run.name, learner)
                sys.exit(stop.code)
            if finished:
                break
            state.rate = learner.rate
            randomness.seed_torch(run.seed, run.name, "dropout", learner.num_steps)
            state.since.append(update(learner.num_steps))
            bar.update()
            due = bool(stop.code) or time.monotonic() - saved > run.machine.checkpoint_seconds
            watch.look(state, now=due or _evaluation_is_due(learner, state, first_step))
    if state.best:
        learner.restore(state.best)
    return state.history


def _say_where_it_begins(learner: Learner, resume: Resume, state: Progress, run: Run) -> None:
    made = learner.num_steps
    if not made and (other := resume.of_another()):
        why = "its params, inputs, machine settings or code have changed"
        _say(f"{run.name}: starts afresh, not after step {other}, where it was stopped: {why}")
    if 0 < made < learner.training.steps:
        _say(f"{run.name}: going on after step {made}")
    if made and state.made_with != _made_with():
        what = f"began with {state.made_with} and goes on with {_made_with()}"
        _say(f"warning: {run.name} {what}: its last bits are not those of one that was not stopped")


def _evaluation_is_due(learner: Learner, state: Progress, first_step: int) -> bool:
    """Whether the step that was made last is one to evaluate at, and that was not done yet."""
    made, training = learner.num_steps, learner.training
    wanted = made == training.steps or (made > 0 and made % training.evaluate_every == 0)
    return wanted and (not state.history or state.history[-1]["step"] != first_step + made)


@contextmanager
def _kept_when_stopped(
    learner: Learner, resume: Resume, state: Progress, name: str
) -> Iterator[None]:
    """Within, where nothing of the training changes, a signal need not wait."""
    try:
        with signals.at_once():
            yield
    except SystemExit:
        _keep(learner, resume, state)
        _stopped(name, learner)
        raise


def _stopped(name: str, learner: Learner) -> None:
    _say(f"{name}: stopped after step {learner.num_steps}; run again to go on")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 (else an interruption looks like a crash)


def _record(learner: Learner, state: Progress, row: Row) -> None:
    state.history.append(row)
    state.since = []
    if learner.training.keep == "best" and leading(row) > state.best_val_acc:
        state.best, state.best_val_acc = learner.snapshot(), leading(row)


def leading(row: Row) -> float:
    """What selection goes by: the mean IoU where there is one, else the accuracy."""
    return row.get("val_miou", row["val_acc"])


def _restore(learner: Learner, resume: Resume) -> Progress:
    newest = resume.newest()
    if newest is None:
        return Progress()
    state, notes = newest
    learner.load_state(state)
    device = next(learner.network.parameters()).device
    rows = state["since"].to(device) if "since" in state else ()
    return Progress(
        history=notes["history"],
        since=[dict(zip(notes["losses"], row)) for row in rows],
        rate=notes["rate"],
        first=notes["first"],
        best={k.removeprefix("best/"): v for k, v in state.items() if k.startswith("best/")},
        best_val_acc=notes["best_val_acc"],
        made_with=notes["made_with"],
    )


def _keep(learner: Learner, resume: Resume, state: Progress) -> None:
    tensors = learner.state() | {f"best/{k}": v for k, v in state.best.items()}
    if state.since:
        rows = [torch.stack(list(losses.values())) for losses in state.since]
        tensors["since"] = torch.stack(rows)
    names = list(state.since[0]) if state.since else []
    notes = {"history": state.history, "losses": names, "best_val_acc": state.best_val_acc}
    notes |= {"rate": state.rate, "first": state.first, "made_with": state.made_with}
    resume.save(learner.num_steps, tensors, notes)


def _means(since: list[dict[str, Tensor]]) -> Row:
    """One transfer from the device for a whole interval."""
    names = list(since[0])
    values = torch.stack([torch.stack([losses[n].float() for n in names]) for losses in since])
    return dict(zip(names, values.double().mean(0).tolist()))
