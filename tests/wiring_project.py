"""A tiny project whose every stage runs in a moment, to see what another value of a key changes."""

from __future__ import annotations

import copy
import importlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_values
from faults import set_key
from PIL import Image
from sklearn.datasets import load_digits

from pipeline.core import files

SMALL = {"network": "small_cnn", "width": 0.25}
ONLINE = {"pseudo_label": {"start_step": 0, "ramp_steps": 0}}
PARENTS = ["teacher", "b1", "r1"]  # models that others come from
MADE = [*PARENTS, "d1"]  # all that are there
MAKES = {  # by what a stage is for: its module, its arguments
    "base": ("prepare", []),
    "task": ("prepare_task", ["t1"]),
    "labels": ("pseudo_label", ["g1"]),
    "teacher": ("teacher", []),
    "g1": ("student", ["g1"]),
    "m1": ("meta_pseudo_labels", ["m1"]),
    "b1": ("baseline", ["b1"]),
    "r1": ("baseline", ["r1"]),
    "e1": ("ensemble", ["e1"]),
    "s1": ("specialists", ["s1"]),
    "d1": ("distill", ["d1"]),
    "t1": ("extend", ["t1"]),
}
WEIGHTS = ["one.safetensors", "two.safetensors"]


@cache
def values() -> dict:
    """The tiny params, with three steps a model; every model is taught or extended from the
    teacher, and learns from unlabelled images as well."""
    values = tiny_values()
    few = {"steps": 3, "batch_size": 4, "unlabelled_ratio": 1, "warmup_steps": 0}
    values["training"] |= few | {"evaluate_every": 3, "ema": 0.9}
    task = {"base": "teacher", "scenario": "class", "classes": [8, 9], "labels_per_class": 3}
    task["data"] = {"root": values["data"]["root"]}
    return values | {
        "teacher": SMALL | {"methods": ONLINE},
        "generations": {"g1": SMALL | {"teacher": "teacher"}},
        "meta_pseudo_labels": {"m1": {"teacher": "teacher"}},
        "baselines": {
            "b1": SMALL | {"methods": ONLINE},
            "r1": {"network": "resnet_9", "width": 0.125},
        },
        "ensembles": {"e1": {"first": "teacher", "second": "b1"}},
        "specialists": {"s1": {"teacher": "teacher"}},
        "distilled": {"d1": SMALL | {"teacher": "teacher", "methods": {"kd": {}}}},
        "tasks": {"t1": task | {"methods": {"lwf": {"warmup_steps": 1}, **ONLINE}}},
        "final": "teacher",
    }


def changed(changes: dict) -> dict:
    """These values with others at dotted keys."""
    made = copy.deepcopy(values())
    for key, value in changes.items():
        set_key(made, key, copy.deepcopy(value))
    return made


def run(what: str) -> None:
    """The stage that makes it, in the working folder."""
    module, arguments = MAKES[what]
    importlib.import_module(f"stages.{module}").main(arguments)


@contextmanager
def working(folder: Path, changes: dict) -> Iterator[None]:
    """The folder, with these params, as the working folder; nothing in it need outlive a crash."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(os, "fsync", lambda file: None)
        Path("params.yaml").write_text(json.dumps(changed(changes)))  # which is YAML
        yield


class Project:
    """Prepared data and trained parents, and stages run again on them with other params.

    Args:
        folder: to work below.
    """

    def __init__(self, folder: Path):
        self.folder = folder / "whole"
        self._runs = folder / "runs"
        self._made: dict[str, Path] = {}
        self._numbers = count()
        self.folder.mkdir()
        longer = {"steps": 60, "batch_size": 24, "evaluate_every": 60}
        with working(self.folder, {"teacher.training": longer, "baselines.b1.training": longer}):
            for what in ["base", "task", *MADE, "labels"]:
                run(what)
            for name, model in zip(WEIGHTS, PARENTS):
                shutil.copy(f"models/{model}/model.safetensors", name)
            for name, digits in {"photos": "12", "others": "34"}.items():
                write_photos(Path(name), digits)
            write_broken(Path("broken"))
            write_leaky(Path("leaky"))

    def sha256(self, name: str) -> str:
        """Of a file of weights."""
        return files.sha256(self.folder / name)

    def make(self, what: str, changes: dict) -> Path:
        """The folder where a stage has run with other values; once for the same ones. Nothing has
        run for a `what` that no stage makes."""
        key = json.dumps([what, changes], sort_keys=True)
        if key not in self._made:
            folder = self._runs / str(next(self._numbers))
            self._link(folder, what)
            with working(folder, changes):
                if what in MAKES:
                    run(what)
            self._made[key] = folder
        return self._made[key]

    def _link(self, folder: Path, what: str) -> None:
        """All but what the stage will write, as links: what is there stays as it is."""
        (folder / "models").mkdir(parents=True)
        (folder / "data/pseudo_labels").mkdir(parents=True)
        linked = [*WEIGHTS, "photos", "others", "broken", "leaky"]
        linked += [f"models/{name}" for name in MADE if name != what]
        linked += ["data/prepared"] if what not in ("base", "task") else []
        linked += ["data/pseudo_labels/g1.safetensors"] if what != "labels" else []
        for name in linked:
            (folder / name).symlink_to(self.folder / name)


def write_photos(folder: Path, digits: str) -> None:
    """The images of two digits as files, in the class folders `a` and `b`, and of sixes in the
    folder `crowd`, three of which `labels.csv` calls `a`."""
    bunch = load_digits()
    for label, digit in {"a": digits[0], "b": digits[1], "crowd": "6"}.items():
        (folder / label).mkdir(parents=True)
        for row in np.flatnonzero(bunch.target == int(digit))[:40]:
            pixels = np.rint(bunch.images[row] * (255 / 16)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{row}.png")
    some = [f"crowd/{path.name},a" for path in sorted((folder / "crowd").iterdir())[:3]]
    (folder / "labels.csv").write_text("\n".join(["path,label", *some]))


def write_broken(folder: Path) -> None:
    """Photos, and a file that is none."""
    write_photos(folder, "12")
    (folder / "a/text.png").write_text("no image")


def write_leaky(folder: Path) -> None:
    """Photos with a test image that is a training image too."""
    write_photos(folder / "train", "12")
    (folder / "test/a").mkdir(parents=True)
    shutil.copy(next((folder / "train/a").iterdir()), folder / "test/a")
