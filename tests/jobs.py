"""Trainings begun in the working folder as their stages begin them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from conftest import tiny_values, write_params

from pipeline.continual.extension import Extension
from pipeline.data import store, tasks
from pipeline.networks import checkpoint
from pipeline.params.check import load
from pipeline.running import run
from pipeline.running.tracker import NullTracker
from pipeline.students.learn import Job
from pipeline.training.fit import Trainings
from stages import extend, prepare_task


def job(name: str, tracker: NullTracker | None = None, **given) -> Job:
    """A model of params.yaml on the base task's images; its teacher is read if it has one."""
    config = load().config(name)
    if config.parent:
        parent = config.parent.name
        taught = {parent: checkpoint.read_card(f"models/{parent}")["sha256"]}
        given = {"parents": taught} | given
    begun = run.begin(name, name, config.seed, tracker or NullTracker())
    return Job(config, store.load("data/prepared/base"), begun, **given)


def extension(name: str = "t1") -> Extension:
    """A task of params.yaml."""
    params = load()
    config = params.config(name)
    begun = run.begin(name, name, config.seed, NullTracker())
    rule = params.labels_of(name) if params.tasks[name].label_with == "self" else None
    return Extension(config, tasks.dataset(name), begun, rule)


def spy_on_fits(patch, note: Callable) -> None:
    """Call `note(learner, streams, phase)` before each training of a stage."""
    fit = Trainings.fit

    def noted(self, learner, streams: Mapping, evaluate, phase="", *rest, **named):
        note(learner, streams, phase)
        return fit(self, learner, streams, evaluate, phase, *rest, **named)

    patch.setattr(Trainings, "fit", noted)


def with_tasks(folder: Path, **blocks: dict) -> None:
    """The tiny params with these tasks, the last of which is final; of g2, of the classes 8 and 9
    and without methods where they do not say otherwise."""
    plain = {"base": "g2", "scenario": "class", "classes": ["8", "9"], "labels_per_class": 3}
    plain |= {"data": {"root": tiny_values()["data"]["root"]}}
    plain |= {"methods": {}}
    made = {name: plain | block for name, block in blocks.items()}
    write_params(folder, tiny_values() | {"tasks": made, "final": list(blocks)[-1]})


def learn_tasks(*names: str) -> None:
    """The stages of some tasks, one after another."""
    for name in names:
        prepare_task.main([name])
        extend.main([name])
