"""New classes on top of a model, without its data: grow a head, train, keep the old by methods."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from pipeline.continual.options import Task
from pipeline.core import machine, randomness
from pipeline.core.errors import UserError
from pipeline.data import tasks
from pipeline.data.store import Dataset
from pipeline.networks import checkpoint
from pipeline.running.run import Run
from pipeline.running.tracker import NullTracker
from pipeline.training.fit import Trainings, evaluation, sizes, write
from pipeline.training.images import TrainingImages
from pipeline.training.learner import HeadLearner, Learner, below
from pipeline.training.method import Blocks, Method, Setting, build, finish, start
from pipeline.training.model import ModelConfig
from pipeline.training.probe import Probe
from pipeline.training.recipe import Training


@dataclass(frozen=True)
class Extension:
    """A task to learn.

    Attributes:
        config: the model that it makes, and the task's options.
        dataset: the new classes' images.
        run: of its stage.
    """

    config: ModelConfig
    dataset: Dataset
    run: Run

    @property
    def task(self) -> Task:
        """The task's block of params."""
        return self.config.options

    @cached_property
    def images(self) -> TrainingImages:
        """The new images in the recipe's views."""
        return TrainingImages(self.dataset, self.config.training, self.run.machine, self.run.device)


def extend(job: Extension) -> dict:
    """Learn the task and write `models/<name>/` with its memory; returns the card.

    Raises:
        UserError: the images are not of the shape that the base model takes, or data that a
            method needs are missing.
    """
    run, training = job.run, job.config.training
    base = checkpoint.read_card(folder(job))
    check(job, base)
    methods = build(job.task.methods)
    setting = begin(job, base, methods)
    network, columns = setting.network, setting.blocks.trained
    brought = start(methods, setting)
    card = describe(job, base, unlabelled=bool(brought))
    labelled = {"labelled": job.images.labelled(targets(job, columns))}
    autocast = machine.configure(run.machine, network, checkpoint.pixels(card))
    warmup = max((method.warmup_steps for method in methods.values()), default=0)
    evaluate = evaluation(card, run.device)
    depends = [card, job.dataset.card["seal"], warmup]
    if training.features == "frozen":  # without methods
        probe = Probe(run.name, network, training, labelled, autocast)
        return extend_heads(replace(run, depends=depends), probe, card, columns)
    with Trainings(replace(run, depends=depends)) as trainings:
        seen = 0
        if warmup:
            head = HeadLearner(
                network, warm_up(training, warmup), autocast=autocast, columns=columns
            )
            silent = replace(trainings.run, tracker=NullTracker())
            trainings.fit(head, labelled, evaluate, "head", run=silent)
            seen = head.images_seen(sizes(labelled))
        learner = Learner(network, training, None, autocast, methods, columns)
        streams = labelled | brought
        history = trainings.fit(learner, streams, evaluate)
        finish(methods, replace(setting, network=learner.weights))
        card["images_seen"] = seen + learner.images_seen(sizes(streams))
        card["metrics"] = evaluate(learner)
        return write(learner.weights, card, history, memory(methods))


def extend_heads(run: Run, probe: Probe, card: dict, columns: slice) -> dict:
    """`extend`, on features that the base's backbone gave once."""
    with Trainings(run) as trainings:
        trained, history = probe.fit(trainings, card, columns=columns)
        metrics = evaluation(card, run.device)(trained)
        card |= {"images_seen": probe.images_seen, "metrics": metrics}
        return write(trained.weights, card, history, {})


def folder(job: Extension) -> Path:
    """Of the base model."""
    return Path("models") / job.task.base


def check(job: Extension, base: dict) -> None:
    """Refuse images of another shape than the base model was trained on."""
    shape = list(job.dataset.image_shape)
    if shape != base["image_shape"]:
        what = f"images are {shape}, '{base['name']}' takes {base['image_shape']}"
        raise UserError(str(job.dataset.folder), what, "prepare both with one image shape")


def begin(job: Extension, base: dict, methods: Mapping[str, Method]) -> Setting:
    """The base with a new head, drawn from the seed, and the frozen base as the teacher; methods
    have their memory of the base."""
    run, training = job.run, job.config.training
    noise = {"dropout": training.dropout, "stochastic_depth": training.stochastic_depth}
    network, _ = checkpoint.load(folder(job), run.device, noise)
    teacher, _ = checkpoint.load(folder(job), run.device)
    setting = Setting(
        run.name,
        run.seed,
        network,
        blocks(job, base, any(method.rehearses for method in methods.values())),
        training,
        job.images,
        {base["name"]: teacher.requires_grad_(False)},
    )
    recall(methods, setting, base, job)
    randomness.seed_torch(run.seed, run.name, "init")
    network.add_head(run.name, len(job.dataset.classes))
    network.to(run.device)
    return setting


def blocks(job: Extension, base: dict, rehearses: bool) -> Blocks:
    """Where old and new logits are, and what the cross-entropy ranges over.

    Args:
        rehearses: whether images of earlier tasks are in the batch.
    """
    tasks_before = columns_of(base)
    total, num = tasks_before[-1].stop, len(job.dataset.classes)
    old = [slice(0, total)] if job.task.scenario == "class" else tasks_before
    new = slice(total, total + num)
    everything = job.task.ce_over == "all"
    if job.task.ce_over == "auto":
        everything = rehearses or num == 1
    return Blocks(old, new, slice(0, new.stop) if everything else new)


def columns_of(card: dict) -> list[slice]:
    """The logits of each of a model's heads."""
    ends = list(accumulate(len(head["classes"]) for head in card["heads"]))
    return [slice(start, end) for start, end in zip([0, *ends], ends)]


def recall(methods: Mapping[str, Method], setting: Setting, base: dict, job: Extension) -> None:
    """Give each method its memory of the base model; one that has none but needs one learns it
    from the base's own images, task by task."""
    stored = checkpoint.load_memory(folder(job), base)
    columns = columns_of(base)
    for name, method in methods.items():
        method.state = {k: v.to(job.run.device) for k, v in below(stored, f"{name}/").items()}
        if not method.consolidates or method.state:
            continue
        for place, head in enumerate(base["heads"]):
            images = replace(setting.images, dataset=tasks.dataset(head["task"]))
            now = Blocks(columns[:place], columns[place], columns[place])
            finish({name: method}, replace(setting, blocks=now, images=images, teachers={}))


def describe(job: Extension, base: dict, unlabelled: bool) -> dict:
    """The card of the extended model: the base's, a head more.

    Args:
        unlabelled: whether methods bring images of their own.
    """
    training, dataset = job.config.training, job.dataset
    splits = ["labelled", "val"] + (["unlabelled"] if unlabelled else [])
    noise = {"dropout": training.dropout, "stochastic_depth": training.stochastic_depth}
    return {
        **{key: base[key] for key in ("image_shape", "normalisation")},
        "name": job.config.name,
        "network": {**base["network"], **noise},
        "heads": [*base["heads"], {"task": job.config.name, "classes": dataset.classes}],
        "parents": {base["name"]: base["sha256"]},
        "data": {**base["data"], job.config.name: {s: dataset.digest(s) for s in splits}},
        "seed": job.config.seed,
        "training": training.model_dump(),
        "task": job.task.model_dump(exclude_none=True, exclude={"training"}),
    }


def targets(job: Extension, columns: slice) -> Tensor:
    """One-hot rows of the new labelled images, over the logits that the cross-entropy ranges
    over: (M, columns)."""
    labels, num_new = job.images.labels().cpu(), len(job.dataset.classes)
    rows = torch.zeros(len(labels), columns.stop - columns.start)
    first = rows.shape[1] - num_new
    return rows.scatter_(1, labels[:, None] + first, 1.0)


def warm_up(training: Training, steps: int) -> Training:
    """The recipe of the new head's own training."""
    changes = {"steps": steps, "ema": 0.0, "warmup_steps": 0, "evaluate_every": steps}
    return training.model_copy(update={**changes, "keep": "last"})


def memory(methods: Mapping[str, Method]) -> dict[str, Tensor]:
    """The states of all methods, keys `<method>/<tensor>`."""
    return {f"{name}/{k}": v for name, m in methods.items() for k, v in m.state.items()}
