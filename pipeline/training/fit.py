"""From a learner and its streams to a trained model on disk: what every training stage shares."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor

from pipeline.core import files
from pipeline.data import tasks
from pipeline.data.batches import Batches, Stream
from pipeline.networks import checkpoint, evaluate
from pipeline.networks.classifier import Classifier
from pipeline.running import signals
from pipeline.running.resume import Resume
from pipeline.running.run import Run
from pipeline.training.learner import Learner
from pipeline.training.loop import Row, train

Evaluate = Callable[[Learner], Row]


class Trainings:
    """The trainings of a stage, one after another: a context within which an interruption keeps a
    checkpoint to go on from. Checkpoints are removed when the context ends well, so write what was
    trained within it."""

    def __init__(self, run: Run):
        self.run = run
        self._contexts = ExitStack()

    def __enter__(self) -> Trainings:
        self._stop = self._contexts.enter_context(signals.deferred())
        return self

    def __exit__(self, *raised: object) -> None:
        self._contexts.__exit__(*raised)

    def fit(
        self,
        learner: Learner,
        streams: Mapping[str, Stream],
        evaluate: Evaluate,
        phase: str = "",
        first_step: int = 0,
        run: Run | None = None,
    ) -> list[Row]:
        """Train a learner, or go on where it was interrupted; returns its curve.

        Args:
            evaluate: see `evaluation`.
            phase: name of a training other than the main one, with draws of its own.
            first_step: see `train`.
            run: in place of the stage's own: one with another tracker.

        Raises:
            UserError: see `train`; or a pass over one image that BatchNorm cannot normalise.
        """
        run = run or self.run
        run = run.phase(phase) if phase else run
        learner.check_passes(sizes(streams), _any_image(learner, streams))
        if run.machine.compile:
            learner.network.compile()
        # the shapes of a training never change: the quickest kernel is worth a search
        torch.backends.cudnn.benchmark = not run.machine.deterministic
        resume = self._contexts.enter_context(Resume(run.stage, run.depends))
        batches = Batches(streams, seed=run.seed, model=run.name)
        return train(learner, batches, evaluate, run, resume, self._stop, first_step)


def sizes(streams: Mapping[str, Stream]) -> dict[str, int]:
    """Images of each part of a batch."""
    return {name: stream.num for name, stream in streams.items()}


def _any_image(learner: Learner, streams: Mapping[str, Stream]) -> Tensor:
    shape = next(iter(streams.values())).images.shape[1:]
    device = next(learner.network.parameters()).device
    return torch.zeros((1, *shape), dtype=torch.uint8, device=device)


def evaluation(card: dict, device: torch.device) -> Evaluate:
    """What measures a learner's weights on the val images of all tasks that its card names."""
    known = tasks.known(card, "val")
    images = torch.cat([task.images for task in known]).to(device)
    labels = torch.cat([task.labels for task in known])
    columns = tasks.columns(known) if tasks.is_task_known(card) else None

    def measure(learner: Learner) -> Row:
        logits = evaluate.infer(learner.weights, images, learner.autocast)
        return scores(evaluate.task_known(logits, columns) if columns else logits, labels)

    return measure


def scores(logits: Tensor, labels: Tensor) -> Row:
    """What an evaluation on val gives, of logits (N, K) and labels (N,) on the CPU."""
    loss = evaluate.negative_log_likelihood(logits, labels)
    return {"val_acc": evaluate.accuracy(logits, labels), "val_loss": loss}


def write(
    network: Classifier,
    card: dict,
    history: list[Row],
    memory: dict[str, Tensor] | None = None,
) -> dict:
    """Write `models/<name>/`: weights, card, `curves.csv`, and a task's memory.

    Returns:
        the card as written.
    """
    folder = Path("models") / card["name"]
    files.write_text(folder / "curves.csv", _csv(history))
    return checkpoint.save(folder, network, card, memory)


def _csv(rows: list[Row]) -> str:
    text = io.StringIO()
    names = dict.fromkeys(name for row in rows for name in row)  # a phase may lack a loss
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
