"""New classes on top of a model, without its data: grow a head, train, keep the old by methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pipeline import checkpoint, machine, randomness
from pipeline.data import tasks
from pipeline.data.batches import Stream
from pipeline.data.store import Dataset
from pipeline.errors import UserError
from pipeline.fit import (
    finish,
    fit,
    images_seen,
    labelled_view,
    look_at,
    on,
    unlabelled,
    within_reach,
)
from pipeline.learner import HeadLearner, Learner
from pipeline.machine import Machine
from pipeline.methods import METHODS, Blocks, Method
from pipeline.networks import Classifier
from pipeline.params import Params, Task, Training
from pipeline.tracking import NullTracker


@dataclass(frozen=True)
class Extension:
    """A task to learn.

    Attributes:
        name: of the task and of the model it makes.
        params: the whole of params.yaml.
        dataset: the new classes' images.
    """

    name: str
    params: Params
    dataset: Dataset

    @property
    def task(self) -> Task:
        """The task's block of params."""
        return self.params.tasks[self.name]

    @property
    def training(self) -> Training:
        """The task's recipe."""
        return self.params.training_of(self.name)


def extend(job: Extension, tracker: NullTracker) -> dict:
    """Learn the task and write `models/<name>/` with its memory; returns the card.

    Raises:
        UserError: the images are not of the shape that the base model takes, or data that a
            method needs are missing.
    """
    settings = machine.load()
    device = machine.device(settings)
    base = Path("models") / job.task.base
    base_card = checkpoint.read_card(base)
    check(job, base_card)
    card = describe(job, base_card)
    network, _ = checkpoint.load(base, device, noise=card["network"])
    methods = {name: METHODS[name](getattr(job.task, name)) for name in job.task.methods}
    recall(methods, base, base_card, network)
    blocks = grow(network, job, device)
    for method in methods.values():
        method.before_task(network, blocks)
    look = look_at(card, device)

    def done(learner: Learner, history: list[dict]) -> dict:
        images = on(job.dataset.array("labelled"), device)
        labels = on(job.dataset.array("labelled", "label"), device) + blocks.new.start
        for method in methods.values():
            method.after_task(learner.weights, images, labels)
        memory = {f"{n}/{k}": v for n, m in methods.items() for k, v in m.memory.items()}
        return finish(learner, card, look, history, memory)

    return _train(job, network, methods, blocks, look, settings, tracker, card, done)


def check(job: Extension, base: dict) -> None:
    """Refuse images of another shape than the base model was trained on."""
    shape = list(job.dataset.image_shape)
    if shape != base["image_shape"]:
        what = f"images are {shape}, '{base['name']}' takes {base['image_shape']}"
        raise UserError(str(job.dataset.folder), what, "prepare both with one image shape")


def describe(job: Extension, base: dict) -> dict:
    """The card of the extended model: the base's, a head more."""
    splits = ["labelled", "val"]
    if any(METHODS[name].streams for name in job.task.methods):
        splits.append("unlabelled")
    data = {split: job.dataset.digest(split) for split in splits}
    return {
        **{key: base[key] for key in ("image_shape", "normalisation")},
        "name": job.name,
        "network": {
            **base["network"],
            "dropout": job.training.dropout,
            "stochastic_depth": job.training.stochastic_depth,
        },
        "heads": [*base["heads"], {"task": job.name, "classes": job.dataset.classes}],
        "parents": {base["name"]: base["sha256"]},
        "data": {**base["data"], job.name: data},
        "seed": job.params.seed,
        "training": job.training.model_dump(),
        "task": job.task.model_dump(exclude={"training"}),
    }


def recall(methods: dict[str, Method], base: Path, card: dict, network: Classifier) -> None:
    """Give each method its memory of the base model; one that has none but needs one learns it
    from the base's own training images."""
    stored = checkpoint.load_memory(base, card)
    for name, method in methods.items():
        prefix = f"{name}/"
        method.memory = {k[len(prefix) :]: v for k, v in stored.items() if k.startswith(prefix)}
        if method.consolidates and not method.memory:
            for old in tasks.known(card, "labelled"):
                method.after_task(network, old.images, old.labels)


def grow(network: Classifier, job: Extension, device: torch.device) -> Blocks:
    """Add the task's head, drawn from the seed, and say where old and new logits are."""
    sizes = [head.out_features for head in network.heads.values()]
    torch.manual_seed(randomness.torch_seed(job.params.seed, job.name, "init"))
    network.add_head(job.name, len(job.dataset.classes))
    network.to(device)
    total = sum(sizes)
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    per_task = [slice(start, start + size) for start, size in zip(starts, sizes)]
    old = [slice(0, total)] if job.task.scenario == "class" else per_task
    new = slice(total, total + len(job.dataset.classes))
    return Blocks(old, new, slice(0, new.stop) if job.task.ce_over == "all" else new)


def stream(job: Extension, columns: slice, settings: Machine, device: torch.device) -> Stream:
    """The new labelled images; targets over the logits that the cross-entropy ranges over."""
    labels = torch.from_numpy(job.dataset.array("labelled", "label").copy())
    num_new = len(job.dataset.classes)
    targets = torch.eye(num_new)[labels]
    if columns.start == 0:
        targets = torch.cat([torch.zeros(len(labels), columns.stop - num_new), targets], dim=1)
    return Stream(
        images=within_reach(job.dataset.array("labelled"), settings, device),
        targets=targets.to(device),
        num=job.training.batch_size,
        view=labelled_view(job.training, job.dataset.image_shape),
        device=device,
    )


def _train(
    job: Extension,
    network: Classifier,
    methods: dict[str, Method],
    blocks: Blocks,
    look,
    settings: Machine,
    tracker: NullTracker,
    card: dict,
    done: Callable[[Learner, list[dict]], dict],
) -> dict:
    """The new head alone for the warm-up that a method asks for, then everything; returns what
    `done` gives."""
    device = network.mean.device
    columns = blocks.trained
    new = {"labelled": stream(job, columns, settings, device)}
    wanted = {name for method in methods.values() for name in method.streams}
    others = unlabelled(job.dataset, wanted, job.training, settings, device)
    autocast = machine.suit(settings, network, checkpoint.pixels(card))
    warmup = max((getattr(m.options, "warmup_steps", 0) for m in methods.values()), default=0)
    card["images_seen"] = images_seen(new, warmup) + images_seen(new | others, job.training.steps)

    def run(learner: Learner, streams: dict, phase: str, tracker, done: Callable) -> Any:
        return fit(
            learner,
            streams,
            look,
            stage=f"extend@{job.name}{phase}",
            name=f"{job.name}{phase}",
            seed=job.params.seed,
            settings=settings,
            tracker=tracker,
            depends=[card, job.dataset.card["seal"], phase, warmup],
            done=partial(done, learner),
        )

    if warmup:
        recipe = job.training.model_copy(
            update={"steps": warmup, "ema": 0.0, "warmup_steps": 0, "evaluate_every": warmup}
        )
        head = HeadLearner(network, recipe, autocast=autocast, columns=columns)
        run(head, new, ".head", NullTracker(), lambda *_: None)
    learner = Learner(
        network,
        job.training,
        autocast=autocast,
        methods=list(methods.values()),
        columns=columns,
    )
    return run(learner, new | others, "", tracker, done)
