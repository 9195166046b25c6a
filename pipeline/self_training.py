"""A teacher from labels, a noisy student from labels and its teacher's pseudo-labels
(Xie et al. 2020, arXiv:1911.04252)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipeline import checkpoint, machine, networks, pretrained, randomness
from pipeline.data.batches import Stream, View
from pipeline.data.store import Dataset
from pipeline.fine_tune import fine_tune
from pipeline.fit import (
    finish,
    fit,
    images_seen,
    labelled_view,
    look_at,
    on,
    unlabelled,
    views,
    within_reach,
)
from pipeline.learner import Learner
from pipeline.machine import Machine
from pipeline.networks import Classifier
from pipeline.params import Baseline, MetaPseudoLabels, Model, Params, Training
from pipeline.tracking import NullTracker
from pipeline.train import Row
from pipeline.zoo import check_images

if TYPE_CHECKING:  # a model that needs none of these is not retrained when they change
    from pipeline.methods import Method
    from pipeline.pseudo_labels import PseudoLabels

# keys of a model's block that its card has elsewhere
ELSEWHERE = ("network", "width", "pretrained", "training", "labels")


@dataclass(frozen=True)
class Job:
    """A model to train.

    Attributes:
        name: of the model; `models/<name>` is where it goes.
        params: the whole of params.yaml.
        dataset: the base task's images.
        parents: `{name: sha256}` of the models it learns from.
        pseudo_labels: targets for unlabelled images; None for a teacher.
        methods: what else a baseline learns by.
        pair: whether a teacher is trained beside it.
    """

    name: str
    params: Params
    dataset: Dataset
    parents: dict[str, str]
    pseudo_labels: PseudoLabels | None = None
    methods: Sequence[Method] = ()
    pair: bool = False

    @property
    def spec(self) -> Model:
        """The model's block of params."""
        return self.params.models()[self.name]

    @property
    def training(self) -> Training:
        """The recipe of this model."""
        return self.params.training_of(self.name)


def learn(job: Job, stage: str, tracker: NullTracker) -> dict:
    """Train a model, fine-tune it if that is asked for, and write `models/<name>/`; returns its
    card."""
    settings = machine.load()
    device = machine.device(settings)
    card, parts = describe(job), streams(job, settings, device)
    card["images_seen"] = images_seen(parts, job.training.steps)
    network, card = begin(job, card, device)
    autocast = machine.suit(settings, network, checkpoint.pixels(card))
    loss_weights = {"pseudo": job.training.unlabelled_weight}
    learner = Learner(network, job.training, loss_weights, autocast, job.methods)
    look = look_at(card, device)
    return complete(job, learner, parts, card, look, stage, settings, tracker)


def complete(
    job: Job,
    learner: Learner,
    parts: dict[str, Stream],
    card: dict,
    look: Callable[[Learner], Row],
    stage: str,
    settings: Machine,
    tracker: NullTracker,
    beside: Callable[[list[Row]], object] = lambda history: None,
) -> dict:
    """Train a learner, fine-tune it if that is asked for, write the model; returns its card.

    Args:
        parts: the streams to train on.
        card: of the model so far.
        look: in training; see `look_at`.
        beside: is told the curve when the training is done; writes what else came out of it.
    """
    device = learner.network.mean.device
    run = partial(
        fit,
        seed=job.params.seed,
        settings=settings,
        tracker=tracker,
        depends=[card, _targets_digest(job)],
    )

    def done(history: list[Row]) -> dict:
        beside(history)
        if job.spec.fine_tune is None:
            return finish(learner, card, look_at(card, device), history)
        weak, _ = views(job.training, job.dataset.image_shape)
        clean = labelled(job, weak, settings, device)
        return fine_tune(learner, job.spec.fine_tune, clean, card, history, settings, run, stage)

    return run(learner, parts, look, stage=stage, name=job.name, done=done)


def begin(job: Job, card: dict, device: torch.device) -> tuple[Classifier, dict]:
    """The network to train, and its card: fresh weights from the seed, those of a file, or the
    teacher's.

    Raises:
        UserError: the teacher has other weights than this model; the file of weights is not there,
            not the one named, or does not fit; the images are too small for the network.
    """
    given = pretrained.read(job.params, job.name)
    card = pretrained.noted(card, given)
    _check_fine_tune(job)
    teacher = None
    if getattr(job.spec, "init", "scratch") == "teacher":
        [parent] = job.parents
        teacher, theirs = checkpoint.load(Path("models") / parent, device)
        card = card | {"normalisation": theirs["normalisation"]}
    torch.manual_seed(randomness.torch_seed(job.params.seed, job.name, "init"))
    network = checkpoint.build(card).to(device)
    pretrained.fill(network.backbone, given)
    if teacher:
        network.load_state_dict(teacher.state_dict())
    return network, card


def _check_fine_tune(job: Job) -> None:
    """Refuse now what would fail after the first training."""
    if job.spec.fine_tune:
        size = job.spec.fine_tune.image_size
        network, _ = job.params.architecture(job.name)
        check_images(job.name, network, job.dataset.image_shape, size)


def num_parameters(job: Job) -> int:
    """Weights of the model to train, before any is drawn."""
    with torch.device("meta"):
        return networks.num_parameters(checkpoint.build(describe(job)))


def describe(job: Job) -> dict:
    """The card of a model before it is trained: all that its weights depend on but targets."""
    spec, training, dataset = job.spec, job.training, job.dataset
    network, width = job.params.architecture(job.name)
    others = job.pseudo_labels or job.methods or job.pair
    splits = ["labelled", "val"] + (["unlabelled"] if others else [])
    card = {
        "name": job.name,
        "network": {
            "name": network,
            "width": width,
            "stochastic_depth": training.stochastic_depth,
            "dropout": training.dropout,
            "image_size": training.image_size,
        },
        "heads": [{"task": "base", "classes": dataset.classes}],
        "image_shape": list(dataset.image_shape),
        "normalisation": dataset.card["normalisation"],
        "parents": job.parents,
        "data": {"base": {split: dataset.digest(split) for split in splits}},
        "seed": job.params.seed,
        "training": training.model_dump(),
    }
    asked = spec.model_dump(exclude_none=True, exclude={*ELSEWHERE, *_idle(spec)})
    return card | {"model": asked}


def _idle(spec: Model) -> set[str]:
    """Options in a model's block that do nothing for it."""
    if isinstance(spec, Baseline):
        return {"pseudo_label", "uda", "fixmatch"} - {spec.learner}
    if isinstance(spec, MetaPseudoLabels):
        return {"uda"} if spec.reduced else {"calibrator_width"}
    return set()


def streams(job: Job, settings: Machine, device: torch.device) -> dict[str, Stream]:
    """The labelled images; for a student the pseudo-labelled ones in the strong view; the
    unlabelled views that the methods of a baseline want."""
    view = labelled_view(job.training, job.dataset.image_shape)
    found = {"labelled": labelled(job, view, settings, device)}
    if pseudo := job.pseudo_labels:
        found["pseudo"] = Stream(
            images=within_reach(job.dataset.array("unlabelled"), settings, device),
            targets=on(pseudo.probs, device).float(),
            num=job.training.num_unlabelled,
            view=views(job.training, job.dataset.image_shape)[1],
            weights=on(pseudo.weight, device),
            index=pseudo.index,
            device=device,
        )
    wanted = {name for method in job.methods for name in method.streams}
    wanted |= {"unlabelled", "weak"} if job.pair else set()
    return found | unlabelled(job.dataset, wanted, job.training, settings, device)


def labelled(job: Job, view: View, settings: Machine, device: torch.device) -> Stream:
    """The labelled images in a view, one-hot targets."""
    labels = on(job.dataset.array("labelled", "label"), device)
    return Stream(
        images=within_reach(job.dataset.array("labelled"), settings, device),
        targets=torch.eye(len(job.dataset.classes), device=device)[labels],
        num=job.training.batch_size,
        view=view,
        device=device,
    )


def _targets_digest(job: Job) -> str:
    content = hashlib.sha256(job.dataset.card["seal"].encode())
    for array in vars(job.pseudo_labels).values() if job.pseudo_labels else ():
        content.update(array.tobytes())
    return content.hexdigest()
