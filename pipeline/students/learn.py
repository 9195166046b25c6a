"""A teacher from labels, a noisy student from labels and its teacher's pseudo-labels
(Xie et al. 2020, arXiv:1911.04252); either may learn by methods as well."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline.core import machine, randomness
from pipeline.data.batches import Stream
from pipeline.data.store import Dataset
from pipeline.networks import checkpoint, pretrained
from pipeline.networks.classifier import Classifier, num_parameters
from pipeline.running.run import Run
from pipeline.students.brought import bring
from pipeline.training.fine_tune import fine_tune
from pipeline.training.fit import Trainings, evaluation, sizes, write
from pipeline.training.images import TrainingImages, on, one_hot
from pipeline.training.learner import Learner
from pipeline.training.loop import Row
from pipeline.training.method import Blocks, Setting, build, start
from pipeline.training.model import ModelConfig
from pipeline.training.probe import Probe, Trained

if TYPE_CHECKING:  # a teacher is not retrained when labelling changes
    from pipeline.labelling.pseudo_labels import PseudoLabels

# keys of a model's block that its card has elsewhere
ELSEWHERE = {"network", "width", "pretrained", "training", "labels", "from_"}


@dataclass(frozen=True)
class Job:
    """A model to train on the base task's images.

    Attributes:
        config: the model.
        dataset: the images.
        run: of its stage.
        parents: `{name: sha256}` of the models it learns from.
        pseudo_labels: targets for unlabelled images; None for a model without a teacher.
        images_labelled: images that went through the teacher to make them.
    """

    config: ModelConfig
    dataset: Dataset
    run: Run
    parents: Mapping[str, str] = field(default_factory=dict)
    pseudo_labels: PseudoLabels | None = None
    images_labelled: int = 0

    @cached_property
    def images(self) -> TrainingImages:
        """The images in the recipe's views."""
        return TrainingImages(self.dataset, self.config.training, self.run.machine, self.run.device)


def learn(job: Job) -> dict:
    """Train a model, fine-tune it if that is asked for, and write `models/<name>/`; or write there
    one that is brought. Returns its card.

    Raises:
        UserError: see `begin`, `Trainings.fit` and `bring`.
    """
    training, run = job.config.training, job.run
    if getattr(job.config.options, "from_", None):
        return bring(job.config, job.dataset, run)
    methods = build(job.config.options.methods)
    by_method = any(method.reads_unlabelled for method in methods.values())
    network, card = begin(job, describe(job, unlabelled=bool(job.pseudo_labels or by_method)))
    blocks = Blocks([], slice(0, len(job.dataset.classes)), slice(None))
    setting = Setting(run.name, run.seed, network, blocks, training, job.images)
    streams = {"labelled": labelled(job), **pseudo_labelled(job), **start(methods, setting)}
    autocast = machine.configure(run.machine, network, checkpoint.pixels(card))
    weights = {"pseudo": training.unlabelled_weight}
    if training.features == "frozen":
        probe = Probe(run.name, network, training, streams, autocast)
        return learn_heads(job, probe, card, weights)
    learner = Learner(network, training, weights, autocast, methods)
    card["images_seen"] = learner.images_seen(sizes(streams)) + job.images_labelled
    with Trainings(replace(run, depends=depends(job, card))) as trainings:
        history = trainings.fit(learner, streams, evaluation(card, run.device))
        return end(job, trainings, learner, card, history)


def learn_heads(job: Job, probe: Probe, card: dict, weights: dict[str, float]) -> dict:
    """`learn`, on features that the backbone gave once."""
    card["images_seen"] = probe.images_seen + job.images_labelled
    with Trainings(replace(job.run, depends=depends(job, card))) as trainings:
        trained, history = probe.fit(trainings, card, loss_weights=weights)
        return end(job, trainings, trained, card, history)


def begin(job: Job, card: dict) -> tuple[Classifier, dict]:
    """The network to train, and its card: fresh weights from the seed, those of a file, or the
    teacher's.

    Raises:
        UserError: the teacher has other weights than this model; the file of weights is not there,
            not the one named, or does not fit; the images are too small for the network.
    """
    config, device = job.config, job.run.device
    options, key = config.options.pretrained, f"{config.key}.pretrained"
    given = pretrained.read(key, options, config.network)
    card = pretrained.noted(card, given)
    if config.options.fine_tune:  # now, not after the first training
        checkpoint.check_images(card, config.options.fine_tune.image_size)
    teacher = None
    if getattr(config.options, "init", "scratch") == "teacher":
        [parent] = job.parents
        teacher, theirs = checkpoint.load(Path("models") / parent, device)
        card = card | {"normalisation": theirs["normalisation"]}
    randomness.seed_torch(config.seed, config.name, "init")
    network = checkpoint.build(card).to(device)
    pretrained.fill(network.backbone, given)
    if teacher:
        network.load_state_dict(teacher.state_dict())
    return network, card


def describe(job: Job, unlabelled: bool) -> dict:
    """The card of a model before it is trained: all that its weights depend on but targets.

    Args:
        unlabelled: whether it learns from the unlabelled images too.
    """
    config, dataset = job.config, job.dataset
    training = config.training
    splits = ["labelled", "val"] + (["unlabelled"] if unlabelled else [])
    kind = {"kind": dataset.card["kind"]} if dataset.is_dense else {}
    return kind | {
        "name": config.name,
        "network": {
            "name": config.network,
            "width": config.width,
            "stochastic_depth": training.stochastic_depth,
            "dropout": training.dropout,
            "image_size": training.image_size,
        },
        "heads": [{"task": "base", "classes": dataset.classes}],
        "image_shape": list(dataset.image_shape),
        "normalisation": dataset.card["normalisation"],
        "parents": dict(job.parents),
        "data": {"base": {split: dataset.digest(split) for split in splits}},
        "seed": config.seed,
        "training": training.model_dump(),
        "model": config.options.model_dump(exclude_none=True, exclude=ELSEWHERE),
    }


def size(job: Job) -> int:
    """Weights of the model to train, before any is drawn."""
    with torch.device("meta"):
        return num_parameters(checkpoint.build(describe(job, unlabelled=False)))


def targets(job: Job) -> Tensor:
    """One-hot targets of the labelled images, (M, K) or (M, K, H, W), on the device."""
    return one_hot(job.images.labels(), 0, len(job.dataset.classes))


def labelled(job: Job) -> Stream:
    """The labelled images in the recipe's view."""
    return job.images.labelled(targets(job))


def pseudo_labelled(job: Job) -> dict[str, Stream]:
    """The pseudo-labelled images in the strong view, as the part `pseudo`; none without labels."""
    pseudo, device = job.pseudo_labels, job.run.device
    if pseudo is None:
        return {}
    stream = Stream(
        images=job.images.images("unlabelled"),
        targets=on(pseudo.probs, device).float(),
        num=job.config.training.num_unlabelled,
        view=job.images.strong,
        weights=on(pseudo.weight, device),
        index=pseudo.index,
        device=device,
        soft=pseudo.kind == "soft",
    )
    return {"pseudo": stream}


def end(
    job: Job,
    trainings: Trainings,
    learner: Learner | Trained,
    card: dict,
    history: list[Row],
    clean: Mapping[str, Stream] | None = None,
) -> dict:
    """Fine-tune a learner if that is asked for, and write the model; returns its card.

    Args:
        clean: what it is fine-tuned on, other than the base task's labelled images.
    """
    options = job.config.options.fine_tune
    if options:
        clean = clean or {"labelled": job.images.labelled(targets(job), job.images.weak)}
        learner, card, rows = fine_tune(trainings, learner, options, clean, card)
        history = [*history, *rows]
    metrics = evaluation(card, job.run.device)(learner)
    return write(learner.weights, card | {"metrics": metrics}, history)


def depends(job: Job, card: dict) -> list:
    """What the result of a training depends on: a resume checkpoint of another one is not its
    own."""
    content = hashlib.sha256(job.dataset.card["seal"].encode())
    if job.pseudo_labels:
        content.update(job.pseudo_labels.digest().encode())
    return [card, content.hexdigest()]
