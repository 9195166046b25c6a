"""A recipe tried out on a few images: how long a step of each model and an answer take here.

The models are trained by the code that is going to train them, in a temporary folder, for a few
steps; only their clock counts.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.core import machine
from pipeline.core.machine import Machine
from pipeline.data import store
from pipeline.data.store import Dataset
from pipeline.labelling import pseudo_labels
from pipeline.networks import checkpoint, evaluate
from pipeline.params.schema import Params
from pipeline.proposal import stopwatch
from pipeline.proposal.stopwatch import Moment
from pipeline.running.run import Run
from pipeline.running.tracker import NullTracker
from pipeline.students.learn import Job, learn

SECONDS = 1.0  # for the steps of a model
MOST = 40  # steps that are timed
PARTS = 2  # of them, with an evaluation on one image after each
THREADS = 1.5  # times as quick as one thread are two, for networks that get them
ANSWERED = 256  # images that are answered to time it


class Pace(NamedTuple):
    """Seconds, on this machine.

    Attributes:
        step: of a model, by its name.
        label: of a teacher's answer to an image, in the number format of training.
        measure: of an answer to an image in float32, as the report has it.
    """

    step: dict[str, float]
    label: float
    measure: float

    def quicker(self, times: float) -> Pace:
        """So many times as quick."""
        step = {name: seconds / times for name, seconds in self.step.items()}
        return Pace(step, self.label / times, self.measure / times)


def rehearse(params: Params, images: np.ndarray) -> Pace:
    """Train each model of the base task for a few steps.

    On a busy machine one thread is timed, and what more threads would bring is added by a figure.

    Args:
        params: as they are going to be.
        images: uint8 (N, C, H, W), any, of the size that is stored.
    """
    settings = machine.load()  # of the project's own folder
    shared = stopwatch.busy() and not settings.threads and machine.device(settings).type == "cpu"
    tried = settings.model_copy(update={"threads": 1}) if shared else settings
    with _elsewhere():
        rehearsal = Rehearsal(params, _dataset(images, params.data.classes), tried)
        pace = Pace(rehearsal.steps(), *rehearsal.answers(images))
        return pace.quicker(THREADS) if shared and _gets_threads(settings) else pace


def _gets_threads(settings: Machine) -> bool:
    """Whether the teacher gets more than one thread."""
    import torch

    network, card = checkpoint.load(Path("models/teacher"), machine.device(settings))
    machine.set_threads(settings, network, checkpoint.pixels(card))
    return torch.get_num_threads() > 1


def models(params: Params) -> list[str]:
    """The models of the base task that learn from one another, parents first."""
    lineage = params.lineage()
    return [name for name in lineage if lineage[name].block in ("teacher", "generations")]


@contextmanager
def _elsewhere() -> Iterator[None]:
    """In a temporary folder, with nothing said."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def _dataset(images: np.ndarray, classes: list[str]) -> Dataset:
    """The images in all splits: labels mean nothing here."""
    num = len(images)
    rows = np.tile(np.arange(num), 3)
    split = np.repeat(["labelled", "unlabelled", "val"], [num, num, num])
    keep = (split != "val") | (rows < 1)  # one val image: evaluating is no part of a step
    rows, split = rows[keep], split[keep]
    label = np.where(split == "unlabelled", -1, rows % len(classes))
    return store.save(
        store.PREPARED / "base",
        images,
        label,
        split,
        classes=classes,
        path=[""] * len(rows),
        sha256=[""] * len(rows),
        rows=rows,
    )


class _Watch(NullTracker):
    """Notes when each evaluation was."""

    def __init__(self):
        self.moments: list[Moment] = []

    def metrics(self, metrics, step: int = 0) -> None:
        self.moments.append(stopwatch.now())


class Rehearsal(NamedTuple):
    """Short trainings in the working folder."""

    params: Params
    dataset: Dataset
    settings: Machine

    @property
    def device(self):
        """torch's."""
        return machine.device(self.settings)

    def steps(self) -> dict[str, float]:
        """Seconds of a step of each model; those that do the same in it take as long."""
        seconds: dict[str, float] = {}
        for name in models(self.params):
            alike = (other for other in seconds if self._work(other) == self._work(name))
            twin = next(alike, None)
            seconds[name] = seconds[twin] if twin else self._step(name)
        return seconds

    def _work(self, name: str) -> tuple:
        """What a step of a model does."""
        config = self.params.config(name)
        network = config.network, config.width
        return network, config.training, config.options.methods, config.parent is None

    def _step(self, name: str) -> float:
        """Of one step for a guess, then of as many as there is time for."""
        guess = self._timed(name, 1)
        return self._timed(name, max(1, min(MOST, round(SECONDS / guess)) // PARTS))

    def _timed(self, name: str, num: int) -> float:
        """Seconds of a step, timed over `PARTS` times `num` after as many to warm up."""
        watch = _Watch()
        learn(self._job(name, num, watch))
        first, *_, last = watch.moments
        return stopwatch.seconds(first, last, self.device.type) / (PARTS * num)

    def _job(self, name: str, num: int, tracker: NullTracker) -> Job:
        config = self.params.config(name)
        short = {"steps": (1 + PARTS) * num, "evaluate_every": num}
        short |= {"warmup_steps": 0, "keep": "last"}
        training = config.training.model_copy(update=short)
        fresh = {"init": "scratch"} if config.parent else {}  # no teacher need be there
        options = config.options.model_copy(update={"fine_tune": None, **fresh})
        return Job(
            config=replace(config, training=training, options=options),
            dataset=self.dataset,
            run=Run(name, name, self.params.seed, self.settings, self.device, tracker),
            parents={config.parent.name: ""} if config.parent else {},
            pseudo_labels=_any_labels(self.dataset) if config.parent else None,
        )

    def answers(self, images: np.ndarray) -> tuple[float, float]:
        """Seconds of an image that the teacher labels, and of one that is measured."""
        network, card = checkpoint.load(Path("models/teacher"), self.device)
        autocast = machine.configure(self.settings, network, checkpoint.pixels(card))
        many = np.concatenate([images] * (ANSWERED // len(images) + 1))[:ANSWERED]
        seconds = []
        for way in (autocast, nullcontext):
            evaluate.infer(network, many[:8], way)
            started = stopwatch.now()
            evaluate.infer(network, many, way)
            spent = stopwatch.seconds(started, device=self.device.type)
            seconds.append(spent / len(many))
        return seconds[0], seconds[1]


def _any_labels(dataset: Dataset) -> pseudo_labels.PseudoLabels:
    num, classes = dataset.num("unlabelled"), len(dataset.classes)
    return pseudo_labels.PseudoLabels(
        index=np.arange(num),
        probs=np.full((num, classes), 1 / classes, dtype=np.float16),
        label=np.arange(num) % classes,
        weight=np.ones(num, dtype=np.float32),
        kind="soft",
    )
