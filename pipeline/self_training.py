"""A teacher from labels, a noisy student from labels and its teacher's pseudo-labels
(Xie et al. 2020, arXiv:1911.04252)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pipeline import checkpoint, machine, pretrained, randomness
from pipeline.data.batches import Stream
from pipeline.data.store import Dataset
from pipeline.fit import finish, fit, look_at, on, views, within_reach
from pipeline.learner import Learner
from pipeline.machine import Machine
from pipeline.networks import Classifier
from pipeline.params import Params, Training
from pipeline.tracking import NullTracker

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


def learn(job: Job, stage: str, tracker: NullTracker) -> dict:
    """Train a model and write `models/<name>/`; returns its card."""
    settings = machine.load()
    device = machine.device(settings)
    network, card = begin(job)
    network.to(device)
    autocast = machine.suit(settings, network)
    loss_weights = {"pseudo": job.training.unlabelled_weight}
    learner = Learner(network, job.training, loss_weights, autocast)
    look = look_at(card, device)
    return fit(
        learner,
        streams(job, settings, device),
        look,
        stage=stage,
        name=job.name,
        seed=job.params.seed,
        settings=settings,
        tracker=tracker,
        depends=[card, _targets_digest(job)],
        done=lambda history: finish(learner, card, look, history),
    )


def begin(job: Job) -> tuple[Classifier, dict]:
    """The network before its first step, and its card.

    Raises:
        UserError: the pretrained weights are not there, not those named, or do not fit.
    """
    given = pretrained.read(job.params, job.name)
    card = pretrained.noted(describe(job), given)
    torch.manual_seed(randomness.torch_seed(job.params.seed, job.name, "init"))
    network = checkpoint.build(card)
    pretrained.fill(network.backbone, given)
    return network, card


def describe(job: Job) -> dict:
    """The card of a model before it is trained: all that its weights depend on but targets."""
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
        "data": {"base": {split: dataset.digest(split) for split in splits}},
        "seed": job.params.seed,
        "training": training.model_dump(),
    }


def streams(job: Job, settings: Machine, device: torch.device) -> dict[str, Stream]:
    """The labelled images, and for a student the pseudo-labelled ones, both in the strong view."""
    training, dataset, pseudo = job.training, job.dataset, job.pseudo_labels
    _, strong = views(training, dataset.image_shape)
    labels = on(dataset.array("labelled", "label"), device)
    found = {
        "labelled": Stream(
            images=within_reach(dataset.array("labelled"), settings, device),
            targets=torch.eye(len(dataset.classes), device=device)[labels],
            num=training.batch_size,
            view=strong,
            device=device,
        )
    }
    if pseudo:
        found["pseudo"] = Stream(
            images=within_reach(dataset.array("unlabelled"), settings, device),
            targets=on(pseudo.probs, device).float(),
            num=max(1, round(training.batch_size * training.unlabelled_ratio)),
            view=strong,
            weights=on(pseudo.weight, device),
            index=pseudo.index,
            device=device,
        )
    return found


def _targets_digest(job: Job) -> str:
    content = hashlib.sha256(job.dataset.card["seal"].encode())
    for array in vars(job.pseudo_labels).values() if job.pseudo_labels else ():
        content.update(array.tobytes())
    return content.hexdigest()
