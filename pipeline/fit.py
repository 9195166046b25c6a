"""From a network and a recipe to a trained model on disk: what every training stage shares."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline import checkpoint, evaluate, files, signals
from pipeline.augment import RandAugment, StrongView, WeakView
from pipeline.data import tasks
from pipeline.data.batches import Batches, Stream, View
from pipeline.data.store import Dataset
from pipeline.errors import UserError
from pipeline.learner import Learner
from pipeline.machine import Machine
from pipeline.networks import Classifier
from pipeline.params import Training
from pipeline.resume import Resume
from pipeline.tracking import NullTracker
from pipeline.train import Row, train


def views(training: Training, image_shape: tuple[int, int, int]) -> tuple[View, View]:
    """The weak view (shift, perhaps flip) and the strong one (the weak, then RandAugment).

    Raises:
        UserError: the shift is not smaller than the images (C, H, W).
    """
    _, height, width = image_shape
    if training.shift >= min(height, width):
        what = f"{training.shift} pixels, the images are {height}x{width}"
        raise UserError("training.shift", what, "keep it under their smaller side")
    weak = WeakView(flip=training.flip, shift=training.shift)
    if not training.num_ops:
        return weak, weak
    return weak, StrongView(weak, RandAugment(n=training.num_ops, m=training.magnitude))


def labelled_view(training: Training, image_shape: tuple[int, int, int]) -> View:
    """The view of labelled images in training."""
    weak, strong = views(training, image_shape)
    return strong if training.labelled_view == "strong" else weak


def images_seen(streams: dict[str, Stream], steps: int) -> int:
    """Images that go through the network in so many steps, every view counted."""
    return steps * Batches(streams, seed=0, model="").images_per_step


def unlabelled(
    dataset: Dataset, wanted: Collection[str], training: Training, settings: Machine, device
) -> dict[str, Stream]:
    """The parts of unlabelled images that methods want (see `Method.streams`).

    Raises:
        UserError: some are wanted, but there are no such images.
    """
    if not wanted:
        return {}
    if not len(dataset.array("unlabelled")):
        fix = "lower labels_per_class, val or test, or add images"
        raise UserError(str(dataset.folder), "there are no unlabelled images", fix)
    weak, strong = views(training, dataset.image_shape)
    images = within_reach(dataset.array("unlabelled"), settings, device)
    stream = partial(
        Stream, images, None, training.num_unlabelled, device=device, order="unlabelled"
    )
    return {name: stream({"weak": weak, "unlabelled": strong}[name]) for name in sorted(wanted)}


def look_at(card: dict, device: torch.device) -> Callable[[Learner], Row]:
    """What measures a learner's weights on the val images of all tasks its card names."""
    known = tasks.known(card, "val")
    images = torch.cat([task.images for task in known]).to(device)
    labels = torch.cat([task.labels for task in known])
    told = tasks.columns(known) if tasks.is_told(card) else None

    def look(learner: Learner) -> Row:
        logits = evaluate.infer(learner.weights, images, learner.autocast)
        logits = evaluate.task_known(logits, told) if told else logits
        return scores(logits, labels)

    return look


def scores(logits: Tensor, labels: Tensor) -> Row:
    """What a look at val writes down, of logits (N, K) and labels (N,) on the CPU."""
    loss = evaluate.negative_log_likelihood(logits, labels)
    return {"val_acc": evaluate.accuracy(logits, labels), "val_loss": loss}


def fit(
    learner: Learner,
    streams: dict[str, Stream],
    look: Callable[[Learner], Row],
    *,
    stage: str,
    name: str,
    seed: int,
    settings: Machine,
    tracker: NullTracker,
    depends: object,
    done: Callable[[list[Row]], Any],
    after: int = 0,
) -> Any:
    """Train `learner` on `streams`, resuming what was interrupted; returns what `done` gives.

    Args:
        look: see `look_at`.
        stage: e.g. `student@g1`: where resume checkpoints are kept.
        name, seed: what every random draw depends on.
        depends: JSON-able: all that the result depends on; another value starts afresh.
        done: is told the curve and writes the model; only then resume checkpoints go.
        after: steps of an earlier training that this one goes on from, for the tracker's curves.
    """
    if settings.compile:
        learner.network.compile()
    with Resume(stage, depends) as resume, signals.deferred() as stopped:
        history = train(
            learner,
            Batches(streams, seed=seed, model=name),
            name=name,
            seed=seed,
            evaluate=look,
            resume=resume,
            checkpoint_seconds=settings.checkpoint_seconds,
            log=lambda step, row: tracker.metrics(row | {"step": after + step}, after + step),
            stopped=stopped,
        )
        return done(history)


def finish(
    learner: Learner,
    card: dict,
    look: Callable[[Learner], Row],
    history: list[Row],
    memory: dict[str, Tensor] | None = None,
) -> dict:
    """Write `models/<name>/`: weights, card, `curves.csv`, and a task's memory.

    Returns:
        the card as written.
    """
    return write(learner.weights, card | {"metrics": look(learner)}, history, memory)


def write(
    network: Classifier, card: dict, history: list[Row], memory: dict[str, Tensor] | None = None
) -> dict:
    """Write `models/<name>/` of a network that was measured; returns the card as written."""
    folder = Path("models") / card["name"]
    files.write_text(folder / "curves.csv", _csv(history))
    return checkpoint.save(folder, network, card, memory)


def on(array: np.ndarray, device: torch.device) -> Tensor:
    """A NumPy array, perhaps memory-mapped, as a tensor on `device`."""
    return torch.from_numpy(array.copy()).to(device)


def within_reach(images: np.ndarray, settings: Machine, device: torch.device):
    """Images to draw from: on the device where they fit, else the memory map itself."""
    fits = images.nbytes <= settings.resident_gigabytes * 1e9
    return on(images, device) if fits else images


def _csv(rows: list[Row]) -> str:
    text = io.StringIO()
    names = dict.fromkeys(name for row in rows for name in row)  # a phase may lack a loss
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
