"""From params and data to a trained model on disk: what the teacher and every student share."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline import checkpoint, evaluate, files, machine, randomness
from pipeline.augment import RandAugment, StrongView, WeakView
from pipeline.data.batches import Batches, Stream
from pipeline.data.store import Dataset
from pipeline.learner import Learner
from pipeline.params import Params, Training
from pipeline.resume import Resume
from pipeline.tracking import NullTracker
from pipeline.train import train

if TYPE_CHECKING:  # the teacher, which needs none, is not retrained when their rules change
    from pipeline.pseudo_labels import PseudoLabels


@dataclass(frozen=True)
class Job:
    """A model to train.

    Attributes:
        name: of the model; `models/<name>` is where it goes.
        params: the whole of params.yaml.
        dataset: the base task's images.
        parents: `{name: sha256}` of the models it learns from.
        pseudo_labels: targets for unlabelled images; None for a teacher.
    """

    name: str
    params: Params
    dataset: Dataset
    parents: dict[str, str]
    pseudo_labels: PseudoLabels | None = None

    @property
    def training(self) -> Training:
        """The recipe of this model."""
        return self.params.training_of(self.name)


def fit(job: Job, stage: str, tracker: NullTracker) -> dict:
    """Train a model and write `models/<name>/` with its card and `curves.csv`.

    Returns:
        the card as written.
    """
    settings = machine.load()
    device = machine.device(settings)
    card = describe(job)
    torch.manual_seed(randomness.torch_seed(job.params.seed, job.name, "init"))
    network = checkpoint.build(card).to(device)
    autocast = machine.suit(settings, network)
    loss_weights = {"pseudo": job.training.unlabelled_weight}
    learner = Learner(network, job.training, loss_weights, autocast)
    batches = Batches(streams(job, device), seed=job.params.seed, model=job.name)
    images = torch.from_numpy(job.dataset.array("val").copy()).to(device)
    labels = torch.from_numpy(job.dataset.array("val", "label").copy())

    def look(learner: Learner) -> dict[str, float]:
        logits = evaluate.infer(learner.weights, images, autocast)
        loss = evaluate.negative_log_likelihood(logits, labels)
        return {"val_acc": evaluate.accuracy(logits, labels), "val_loss": loss}

    with Resume(stage, [card, _targets_digest(job)]) as resume:
        history = train(
            learner,
            batches,
            name=job.name,
            seed=job.params.seed,
            evaluate=look,
            resume=resume,
            checkpoint_seconds=settings.checkpoint_seconds,
            log=lambda step, row: tracker.metrics(row, step),
        )
        folder = Path("models") / job.name
        card["metrics"] = look(learner)
        files.write_text(folder / "curves.csv", _csv(history))
        return checkpoint.save(folder, learner.weights, card)


def describe(job: Job) -> dict:
    """The card of a model before it is trained: all that its weights depend on."""
    spec, training, dataset = job.params.models()[job.name], job.training, job.dataset
    splits = ["labelled", "val"] + (["unlabelled"] if job.pseudo_labels else [])
    return {
        "name": job.name,
        "network": {
            "name": spec.network,
            "width": spec.width,
            "stochastic_depth": training.stochastic_depth,
            "dropout": training.dropout,
        },
        "heads": [{"task": "base", "classes": dataset.classes}],
        "image_shape": list(dataset.image_shape),
        "normalisation": dataset.card["normalisation"],
        "parents": job.parents,
        "data": {name: dataset.digest(name) for name in splits},
        "seed": job.params.seed,
        "training": training.model_dump(),
    }


def views(training: Training) -> tuple[WeakView, StrongView]:
    """The weak view (shift, perhaps flip) and the strong one (the weak, then RandAugment)."""
    weak = WeakView(flip=training.flip, shift=training.shift)
    return weak, StrongView(weak, RandAugment(n=training.num_ops, m=training.magnitude))


def streams(job: Job, device: torch.device) -> dict[str, Stream]:
    """The labelled images, and for a student the pseudo-labelled ones, both in the strong view."""
    training, dataset = job.training, job.dataset
    _, strong = views(training)
    num_classes = len(dataset.classes)
    labels = torch.from_numpy(dataset.array("labelled", "label").copy())
    found = {
        "labelled": Stream(
            images=_on(dataset.array("labelled"), device),
            targets=torch.eye(num_classes)[labels].to(device),
            num=training.batch_size,
            view=strong,
        )
    }
    if job.pseudo_labels:
        pseudo = job.pseudo_labels
        found["pseudo"] = Stream(
            images=_on(dataset.array("unlabelled")[pseudo.index], device),
            targets=_on(pseudo.probs, device).float(),
            num=max(1, round(training.batch_size * training.unlabelled_ratio)),
            view=strong,
            weights=_on(pseudo.weight, device),
        )
    return found


def _on(array, device: torch.device) -> Tensor:
    return torch.from_numpy(array.copy()).to(device)


def _targets_digest(job: Job) -> str:
    """What the resume key needs beyond the card: the targets."""
    content = hashlib.sha256(job.dataset.card["sha256"]["labelled/label.npy"].encode())
    for array in vars(job.pseudo_labels).values() if job.pseudo_labels else ():
        content.update(array.tobytes())
    return content.hexdigest()


def _csv(rows: list[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
