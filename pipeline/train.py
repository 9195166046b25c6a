"""The one training loop: batch, step; now and then look at val, keep a checkpoint, tell."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from pipeline import randomness
from pipeline.data.batches import Part
from pipeline.errors import UserError
from pipeline.learner import Learner, learning_rate
from pipeline.progress import progress
from pipeline.resume import Resume

Row = dict[str, float]


def train(
    learner: Learner,
    batches: Callable[[int], dict[str, Part]],
    *,
    name: str,
    seed: int,
    evaluate: Callable[[Learner], Mapping[str, float]],
    resume: Resume,
    checkpoint_seconds: float,
    log: Callable[[int, Mapping[str, float]], None],
    stopped: Callable[[], int | None] = lambda: None,
) -> list[Row]:
    """Train to the recipe's last step, from the newest resume checkpoint if there is one.

    Args:
        learner: left with the weights that ship: the last, or (`keep: best`) those with the
            highest `val_acc` at a look, the first of equals.
        batches: a pure function of the step.
        name, seed: what dropout draws depend on, with the step.
        evaluate: measures the learner's weights: `val_acc` in 0..1, `val_loss`.
        resume: where interrupted work is kept.
        checkpoint_seconds: between two resume checkpoints.
        log: told the step and its row, once a look.
        stopped: the exit code to end with after this step, if told to stop.

    Returns:
        a row per look at val: `step`, `learning_rate`, the mean of each loss since the last look,
        and what `evaluate` gave.

    Raises:
        UserError: a loss was not finite; no checkpoint is written after it.
        SystemExit: told to stop; a checkpoint was written.
    """
    training = learner.training
    history, since, best = _restore(learner, resume)
    if learner.num_steps:
        _say(f"{name}: going on after step {learner.num_steps}")
    saved = time.monotonic()
    with progress(training.steps, learner.num_steps, name) as bar:
        for step in range(learner.num_steps, training.steps):
            torch.manual_seed(randomness.torch_seed(seed, name, "dropout", step))
            rate = learner.rate
            since.append(learner.step(batches(step)))
            bar.update()
            look = (step + 1) % training.evaluate_every == 0 or step + 1 == training.steps
            due = stopped() or time.monotonic() - saved > checkpoint_seconds
            if look or due:
                _check_finite(learner, since, step, name)
            if look:
                row = {"step": step + 1, "learning_rate": rate}
                row |= _means(since) | dict(evaluate(learner))
                history.append(row)
                since = []
                if training.keep == "best" and row["val_acc"] > best.get("val_acc", -1.0):
                    best = {"val_acc": row["val_acc"], "weights": _copy(learner)}
                log(step + 1, row)
                bar.set_postfix_str(f"loss {row['loss']:.3f} val {row['val_acc']:.3f}")
            if due and step + 1 < training.steps:
                _keep(learner, resume, history, since, best)
                saved = time.monotonic()
                if stopped():
                    _say(f"{name}: stopped after step {step + 1}; run again to go on from there")
                    sys.exit(stopped())
    if best:
        learner.weights.load_state_dict(best["weights"])
    return history


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 (else an interruption looks like a crash)


def _restore(learner: Learner, resume: Resume) -> tuple[list[Row], list[dict[str, Tensor]], dict]:
    found = resume.newest()
    if found is None:
        return [], [], {}
    state, notes = found
    learner.load_state(state)
    weights = {k.removeprefix("best/"): v for k, v in state.items() if k.startswith("best/")}
    best = {"val_acc": notes["best"], "weights": weights} if weights else {}
    device = next(learner.network.parameters()).device
    rows = state["since"].to(device) if "since" in state else ()
    since = [dict(zip(notes["losses"], row)) for row in rows]
    return notes["history"], since, best


def _keep(
    learner: Learner, resume: Resume, history: list[Row], since: list[dict], best: dict
) -> None:
    state = learner.state()
    names = list(since[0]) if since else []
    if since:
        state["since"] = torch.stack([torch.stack(list(losses.values())) for losses in since])
    state |= {f"best/{k}": v for k, v in best.get("weights", {}).items()}
    notes = {"history": history, "losses": names, "best": best.get("val_acc")}
    resume.save(learner.num_steps, state, notes)


def _means(since: list[dict[str, Tensor]]) -> Row:
    """One transfer from the device for a whole interval."""
    names = list(since[0])
    values = torch.stack([torch.stack([losses[n].float() for n in names]) for losses in since])
    return dict(zip(names, values.double().mean(0).tolist()))


def _check_finite(learner: Learner, since: list[dict], step: int, name: str) -> None:
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


def _copy(learner: Learner) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in learner.weights.state_dict().items()}
