"""From a learner and its streams to a trained model on disk: what every training stage shares."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

import torch
from torch import Tensor

from pipeline.core import machine
from pipeline.data import tasks
from pipeline.data.batches import Batches, Stream
from pipeline.networks import checkpoint, evaluate, temperature
from pipeline.networks.classifier import Classifier
from pipeline.running.resume import Resume
from pipeline.running.run import Run
from pipeline.training.learner import Learner
from pipeline.training.loop import Row, train
from pipeline.training.watch import check_answers, check_loss

Evaluate = Callable[[Learner], Row]
Autocast = Callable[[], AbstractContextManager]
Seen = Callable[[Tensor], Tensor]


class Trainings:
    """The trainings of a stage, one after another: a context that keeps the checkpoints of all of
    them, finished ones too, until it ends well; so write what was trained within it."""

    def __init__(self, run: Run):
        self.run = run
        self._contexts = ExitStack()

    def __enter__(self) -> Trainings:
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
        depends = [run.depends, numbers(learner, run)]
        resume = self._contexts.enter_context(Resume(run.stage, depends))
        batches = Batches(streams, seed=run.seed, model=run.name)
        return train(learner, batches, evaluate, run, resume, first_step)


def numbers(learner: Learner, run: Run) -> list:
    """What decides how a training computes: half of one on a CPU and half on a GPU is neither."""
    autocast = "float32" if learner.autocast is nullcontext else "bfloat16"
    return [run.device.type, autocast, run.machine.compile]


def sizes(streams: Mapping[str, Stream]) -> dict[str, int]:
    """Images of each part of a batch."""
    return {name: stream.num for name, stream in streams.items()}


def _any_image(learner: Learner, streams: Mapping[str, Stream]) -> Tensor:
    shape = next(iter(streams.values())).images.shape[1:]
    device = next(learner.network.parameters()).device
    return torch.zeros((1, *shape), dtype=torch.uint8, device=device)


class Val:
    """The val images of all tasks that a card names.

    Args:
        device: to hold them on.
        seen: what networks are shown in their place, of images (N, C, H, W).
    """

    def __init__(self, card: dict, device: torch.device, seen: Seen = lambda images: images):
        known = tasks.known(card, "val")
        self._images = seen(torch.cat([task.images for task in known]).to(device))
        self._columns = tasks.columns(known) if tasks.is_task_known(card) else None
        self.labels = torch.cat([task.labels for task in known])
        self._sizes = {task.task: len(task.labels) for task in known}

    def logits(self, network: Classifier, autocast: Autocast) -> Tensor:
        """What a network answers, (N, K): minus infinity outside an image's own task where that is
        known."""
        logits = evaluate.infer(network, self._images, autocast)
        return evaluate.task_known(logits, self._columns) if self._columns else logits

    @property
    def is_of_several(self) -> bool:
        """Whether the images are of several tasks."""
        return len(self._sizes) > 1

    def by_task(self, logits: Tensor) -> Row:
        """`val_acc/<task>` of each task, of a model that learnt several."""
        if not self.is_of_several:
            return {}
        sizes = list(self._sizes.values())
        pieces = zip(self._sizes, logits.split(sizes), self.labels.split(sizes))
        return {f"val_acc/{task}": evaluate.accuracy(*one) for task, *one in pieces}


def evaluation(card: dict, device: torch.device, *seen: Seen, judges: bool = True) -> Evaluate:
    """What measures a learner's weights on the val images of all tasks that its card names, or on
    what is `seen` of them; it raises `WentWrong` where they answer nothing any more, unless it
    `judges` nobody."""
    val = Val(card, device, *seen)

    def measured(learner: Learner) -> Row:
        logits = val.logits(learner.weights, learner.autocast)
        row = scores(logits, val.labels) | val.by_task(logits)
        if judges and isinstance(learner, Learner) and learner.can_be_judged:
            check_loss(row["val_loss"], logits.shape[1])
            if not val.is_of_several:  # a task without old images may answer all by its own class
                check_answers(logits, val.labels)
        return row

    return measured


def scores(logits: Tensor, labels: Tensor) -> Row:
    """What an evaluation on val gives, of logits (N, K) and labels (N,) on the CPU; of dense ones,
    (N, K, H, W) and (N, H, W), over pixels, and the mean IoU as well."""
    loss = evaluate.negative_log_likelihood(logits, labels)
    row = {"val_acc": evaluate.accuracy(logits, labels), "val_loss": loss}
    return row | ({"val_miou": evaluate.mean_iou(logits, labels)} if logits.ndim == 4 else {})


def on_val(card: dict) -> tuple[str, float]:
    """What a finished model is compared by, in words, and how good it is, 0..1."""
    metrics = card["metrics"]
    dense = "val_miou" in metrics
    return ("mean IoU", metrics["val_miou"]) if dense else ("accuracy", metrics["val_acc"])


def write(
    network: Classifier,
    card: dict,
    history: list[Row],
    memory: dict[str, Tensor] | None = None,
) -> dict:
    """Write `models/<name>/`: weights, card, `curves.csv`, and a task's memory.

    The card's metrics gain the temperature that calibrates the model, fitted on val.

    Returns:
        the card as written.
    """
    folder = Path("models") / card["name"]
    card = card | {"metrics": card["metrics"] | {"temperature": calibrated(network, card)}}
    return checkpoint.save(folder, network, card, memory, curves=_csv(history))


def calibrated(network: Classifier, card: dict) -> float:
    """The temperature of finished weights, fitted on the answers that are served; 1 where none can
    be fitted (see `temperature.fit`)."""
    val = Val(card, next(network.parameters()).device)
    return temperature.fit(val.logits(network, machine.full_precision), val.labels) or 1.0


def _csv(rows: list[Row]) -> str:
    text = io.StringIO()
    names = dict.fromkeys(name for row in rows for name in row)  # a phase may lack a loss
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
