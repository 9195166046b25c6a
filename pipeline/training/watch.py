"""Numbers that go wrong end a training at the step where they do, before a checkpoint is written.

not finite  a loss, or a weight after the update
exploded    a loss of `EXPLODED` times that of the first step
no answer   from the middle of the training on, and not before step 100: all val images get one
            class, surely or with the same logits; or their loss is `LOST` times a guess's
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import log
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline.core.errors import UserError
from pipeline.running.resume import Resume

if TYPE_CHECKING:
    from pipeline.data.batches import Batches
    from pipeline.training.learner import Learner
    from pipeline.training.loop import Progress

EXPLODED = 100.0  # no loss that learns gets so many times the first one, or 1 if that is less
LOST = 100.0  # no model that learns has so many times the val loss of an even guess
EVERY = 50  # steps between two looks where the host has to wait for the device
SHOWN = 8  # images of a part of the batch that a message names


class WentWrong(Exception):
    """A model whose answers show that its training failed."""


class Watch:
    """Looks at the losses and weights of a training.

    Args:
        learner: that trains.
        batches: of its streams.
        name: of the training, for people.
        resume: where its checkpoints are.
    """

    def __init__(self, learner: Learner, batches: Batches, name: str, resume: Resume):
        self._learner, self._batches, self._name, self._resume = learner, batches, name, resume
        self._looked = learner.num_steps  # steps that were looked at
        waits = next(learner.network.parameters()).device.type != "cpu"
        self._every = EVERY if waits else 1

    def look(self, state: Progress, now: bool) -> None:
        """After a step: look at it, and at those before that were not looked at.

        Args:
            now: whether a checkpoint or an evaluation follows, which it must be in time for.

        Raises:
            UserError: a loss or a weight is not finite, or a loss has exploded; it names the step.
        """
        made = self._learner.num_steps
        if not now and made - self._looked < self._every:
            return
        losses = torch.stack([row["loss"] for row in state.since[self._looked - made :]]).cpu()
        if state.first is None:
            state.first = float(losses[0])
        limit = EXPLODED * max(abs(state.first), 1.0)
        bad = (~(losses <= limit) | ~losses.isfinite()).nonzero()  # nan is not above anything
        if len(bad):
            step, loss = self._looked + int(bad[0, 0]), float(losses[bad[0, 0]])
            began = "" if step == 0 else f", {state.first:.3g} at first"
            self._stop(step, f"the loss is {loss:.3g}{began}")
        weights = [weight.detach() for weight in self._learner.all_weights()]
        if not bool(torch.stack(torch._foreach_norm(weights)).isfinite().all()):
            self._stop(made - 1, "a weight is not finite after it")
        self._looked = made

    @contextmanager
    def told(self) -> Iterator[None]:
        """Within, `WentWrong` is what the last step led to.

        Raises:
            UserError: in its place.
        """
        try:
            yield
        except WentWrong as wrong:
            self._stop(self._learner.num_steps - 1, str(wrong))

    def _stop(self, step: int, what: str) -> None:
        kept = self._resume.newest_step()
        last = "no checkpoint before it" if kept is None else f"last good checkpoint: step {kept}"
        rate = self._learner.rate_at(step)
        raise UserError(
            f"{self._name}, step {step}",
            f"training diverged: {what} (learning rate {rate:.3g}; {last}; "
            f"batch: {self._images(step)})",
            self._learner.remedy,
        )

    def _images(self, step: int) -> str:
        """The images of a step's batch, by their rows in the arrays that they are read from."""
        said = []
        for name, rows in self._batches.rows(step).items():
            shown = ", ".join(map(str, rows[:SHOWN]))
            more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
            said.append(f"{name} {shown}{more}")
        return "; ".join(said)


def check_loss(loss: float, num: int) -> None:
    """Refuse a val loss, the mean negative log-likelihood of the labels in nats, that is much worse
    than that of a guess among `num` classes.

    Raises:
        WentWrong: it is.
    """
    guess = log(num + 1)  # of one class as well
    if loss > LOST * guess:
        raise WentWrong(f"val loss is {loss:.3g}, where a guess has {guess:.2g}")


def check_answers(logits: Tensor, labels: Tensor) -> None:
    """Refuse the answers (N, K) of a model that gives all val images one class, though their labels
    (N,) are of several, surely or by the very same logits. Dense ones pass: most pixels are
    background, and at first all.

    Raises:
        WentWrong: they are such.
    """
    if logits.ndim != 2 or len(labels.unique()) < 2:
        return
    answers = logits.argmax(1)
    if bool((answers != answers[0]).any()):
        return
    sure = float(logits.softmax(1).amax(1).mean())
    if sure > (1 + 1 / logits.shape[1]) / 2 or bool((logits == logits[0]).all()):
        where = f"class {int(answers[0])}"
        raise WentWrong(f"all {len(answers)} val images are answered alike ({where}): it collapsed")
