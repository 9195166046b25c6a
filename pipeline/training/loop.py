"""The one training loop: batch, step; now and then evaluate on val, keep a checkpoint, report."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipeline.core import randomness
from pipeline.core.errors import UserError
from pipeline.data.batches import Part
from pipeline.running.progress import progress
from pipeline.running.resume import Resume
from pipeline.running.run import Run
from pipeline.running.signals import Stop
from pipeline.training.capture import stepping
from pipeline.training.learner import Learner
from pipeline.training.optimizer import learning_rate

Row = dict[str, float]


@dataclass
class Progress:
    """What the loop keeps, apart from the learner.

    Attributes:
        history: a row for each evaluation.
        since: the losses of each step since the last one, on the device.
        best: the weights with the highest `leading` score on val so far, with `keep: best`.
        best_val_acc: that score.
    """

    history: list[Row] = field(default_factory=list)
    since: list[dict[str, Tensor]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_val_acc: float = -1.0


def train(
    learner: Learner,
    batches: Callable[[int], dict[str, Part]],
    evaluate: Callable[[Learner], Mapping[str, float]],
    run: Run,
    resume: Resume,
    stop: Stop,
    first_step: int = 0,
) -> list[Row]:
    """Train to the recipe's last step, from the newest resume checkpoint if there is one.

    Args:
        learner: left with the weights that ship: the last, or (`keep: best`) those with the
            highest `val_acc` (of pixels: `val_miou`) at an evaluation, the first of equals.
        batches: a pure function of the step.
        evaluate: measures the learner's weights: `val_acc` in 0..1, `val_loss`.
        run: its name and seed are what dropout draws depend on, with the step.
        resume: where interrupted work is kept.
        stop: whether a signal asks to end after this step.
        first_step: steps of an earlier training that this one goes on from, for the curves.

    Returns:
        a row per evaluation: `step`, `learning_rate`, the mean of each loss since the last one,
        and what `evaluate` gave.

    Raises:
        UserError: a loss was not finite; no checkpoint is written after it.
        SystemExit: stopped by a signal; a checkpoint was written.
    """
    training = learner.training
    state = _restore(learner, resume)
    update = stepping(learner, batches, run.machine)
    if learner.num_steps:
        _say(f"{run.name}: going on after step {learner.num_steps}")
    saved = time.monotonic()
    with progress(training.steps, learner.num_steps, run.name) as bar:
        for step in range(learner.num_steps, training.steps):
            randomness.seed_torch(run.seed, run.name, "dropout", step)
            rate = learner.rate
            state.since.append(update(step))
            bar.update()
            last = step + 1 == training.steps
            evaluates = last or (step + 1) % training.evaluate_every == 0
            due = stop.code or time.monotonic() - saved > run.machine.checkpoint_seconds
            if evaluates or due:
                _check_finite(learner, state.since, step, run.name)
            if evaluates:
                row = {"step": first_step + step + 1, "learning_rate": rate}
                row |= _means(state.since) | dict(evaluate(learner))
                _record(learner, state, row)
                run.tracker.metrics(row, first_step + step + 1)
                shown = f"loss {row['loss']:.3f} val {leading(row):.3f}"
                bar.set_postfix_str(shown, refresh=False)  # a log has its own pace
            if due and not last:
                _keep(learner, resume, state)
                saved = time.monotonic()
                if stop.code:
                    _say(f"{run.name}: stopped after step {step + 1}; run again to go on")
                    sys.exit(stop.code)
    if state.best:
        learner.restore(state.best)
    return state.history


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
        best={k.removeprefix("best/"): v for k, v in state.items() if k.startswith("best/")},
        best_val_acc=notes["best_val_acc"],
    )


def _keep(learner: Learner, resume: Resume, state: Progress) -> None:
    tensors = learner.state() | {f"best/{k}": v for k, v in state.best.items()}
    if state.since:
        rows = [torch.stack(list(losses.values())) for losses in state.since]
        tensors["since"] = torch.stack(rows)
    names = list(state.since[0]) if state.since else []
    notes = {"history": state.history, "losses": names, "best_val_acc": state.best_val_acc}
    resume.save(learner.num_steps, tensors, notes)


def _means(since: list[dict[str, Tensor]]) -> Row:
    """One transfer from the device for a whole interval."""
    names = list(since[0])
    values = torch.stack([torch.stack([losses[n].float() for n in names]) for losses in since])
    return dict(zip(names, values.double().mean(0).tolist()))


def _check_finite(learner: Learner, since: list[dict[str, Tensor]], step: int, name: str) -> None:
    losses = torch.stack([losses["loss"] for losses in since])
    norms = torch.stack(torch._foreach_norm(list(learner.network.parameters())))
    if bool(losses.isfinite().all()) and bool(norms.isfinite().all()):
        return
    broken = (~losses.isfinite()).nonzero()
    bad = step + 1 - len(since) + int(broken[0, 0]) if len(broken) else step
    loss, rate = float(losses[bad - step - 1]), learning_rate(learner.training, bad)
    raise UserError(
        f"{name}, step {bad}",
        f"training diverged (loss {loss:g}, learning rate {rate:.3g})",
        learner.remedy,
    )
