"""Presets: a params file each, which `make preset` runs in a project of its own below projects/."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from projects import CODE, NOT_CODE, call, dvc, environment
from ruamel.yaml import YAML

from pipeline.core import files
from pipeline.core.yaml_file import read
from pipeline.params.check import load

PRESETS = sorted((ROOT / "presets").iterdir())
COPIED = ("dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore", ".dvc/plots/models.json")
COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 40, 50)}


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.name)
def test_a_preset_is_a_params_file_that_is_right(path):
    params = load(path)
    folder = {"digit-scenes.yaml": "data/digits"}.get(path.name, "data/cifar10")
    assert params.data.root == folder
    assert params.final in params.generations | params.distilled


@pytest.fixture
def root(tmp_path) -> Path:
    """The code and the presets under git, in a folder with a space in its name."""
    folder = tmp_path / "the root"
    for name in [*CODE, ".dvc/.gitignore", ".dvc/plots", "params.yaml", "presets", "Makefile"]:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=NOT_CODE)
        else:
            shutil.copy(ROOT / name, target)
    call(folder, "git", "init", "-q")
    call(folder, "git", "add", "-A")
    call(folder, "git", "commit", "-qm", "start")
    return folder


@pytest.fixture
def images(tmp_path) -> Path:
    """Images of three classes, told apart by their colour, as train/<class>/ and test/<class>/."""
    folder, rng = tmp_path / "some images", np.random.default_rng(0)
    for split, num in (("train", 30), ("test", 6)):
        for name, colour in COLOURS.items():
            (folder / split / name).mkdir(parents=True)
            for row in range(num):
                pixels = np.clip(rng.normal(colour, 40, (16, 16, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{row}.png")
    return folder


def make(root: Path, name: str, images: Path, programs: Path | None = None):
    """`make preset`, with the environment there is; `programs` go before the PATH."""
    variables = environment() | {"PYTHONDONTWRITEBYTECODE": "1"}
    if programs:
        variables["PATH"] = f"{programs}{os.pathsep}{variables['PATH']}"
    command = ["make", "-o", ".venv/.ready", "preset", f"NAME={name}", f"IMAGES={images}"]
    return subprocess.run(command, cwd=root, env=variables, capture_output=True, text=True)


@pytest.fixture
def programs(tmp_path) -> Path:
    """`python` and `dvc` that only record where and how they are called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("python", "dvc"):
        (folder / name).write_text(
            f'#!/bin/sh\necho "${{PWD##*/}}: {name} $*" >> "{folder}/calls"\n'
        )
        (folder / name).chmod(0o755)
    return folder


def test_a_preset_gets_a_project_of_its_own(root, images, programs):
    done = make(root, "cifar10-cpu", images, programs)
    assert done.returncode == 0, done.stderr
    folder = root / "projects/cifar10-cpu"
    for name in COPIED:
        assert not (folder / name).is_symlink()
        assert (folder / name).read_bytes() == (root / name).read_bytes(), name
    for name in ("pipeline", "stages"):
        assert (folder / name).is_symlink() and (folder / name).resolve() == root / name
    assert (folder / "data/cifar10").resolve() == images
    assert (folder / "params.yaml").read_bytes() == (root / "presets/cifar10-cpu.yaml").read_bytes()
    calls = ["python -m pipeline check", "dvc repro", "python -m pipeline show"]
    assert (programs / "calls").read_text().splitlines() == [f"cifar10-cpu: {c}" for c in calls]
    assert call(root, "git", "status", "--porcelain", "--untracked-files=all") == ""


def test_images_lie_where_the_presets_params_look_for_them(root, images, programs):
    assert make(root, "digit-scenes", images, programs).returncode == 0
    assert (root / "projects/digit-scenes/data/digits").resolve() == images


def test_its_params_are_kept_and_its_graph_follows_the_code(root, images, programs):
    make(root, "cifar10-cpu", images, programs)
    folder = root / "projects/cifar10-cpu"
    for name in ("params.yaml", "dvc.yaml"):
        with open(folder / name, "a", encoding="utf-8") as file:
            file.write("# mine\n")
    assert make(root, "cifar10-cpu", images, programs).returncode == 0
    assert (folder / "params.yaml").read_text(encoding="utf-8").endswith("# mine\n")
    assert (folder / "dvc.yaml").read_bytes() == (root / "dvc.yaml").read_bytes()
    assert not (folder / "pipeline/pipeline").exists(), "a link into the link of the first run"


@pytest.mark.parametrize(("name", "there"), [("cifar10", True), ("cifar10-cpu", False), ("", True)])
def test_a_preset_or_images_that_are_not_there_are_refused(root, images, programs, name, there):
    given = images if there else images / "none"
    done = make(root, name, given, programs)
    assert done.returncode != 0
    assert f"error: preset: NAME={name} or IMAGES={given} is not there; fix: " in done.stderr
    assert not (root / "projects").exists() and not (programs / "calls").exists()


def shortened() -> dict:
    """cifar10-cpu with three classes, one generation and few steps."""
    values = read(ROOT / "presets/cifar10-cpu.yaml").values
    values["data"] |= {"classes": list(COLOURS), "labels_per_class": 4, "size": 8, "val": 0.3}
    values["training"] |= {"steps": 20, "batch_size": 12, "warmup_steps": 2, "evaluate_every": 10}
    values["teacher"] |= {"training": {"steps": 20}}
    del values["generations"]["g2"]
    return values | {"final": "g1"}


@pytest.mark.slow
def test_a_preset_runs_and_the_root_takes_no_notice(root, images):
    with open(root / "presets/small.yaml", "w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(shortened(), file)
    done = make(root, "small", images)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = root / "projects/small"
    metrics = files.read_json(folder / "report/metrics.json")
    assert {"acc/teacher", "acc/g1"} <= metrics.keys()
    assert metrics["acc/g1"] > 0.5 and "g1" in done.stdout
    assert (folder / "mlflow.db").exists() and not (root / "mlflow.db").exists()
    assert "up to date" in dvc(folder, "status")
    assert "acc/g1" in dvc(folder, "metrics", "show", "--md").replace("\\", "")

    (root / "presets/small.yaml").unlink()
    assert call(root, "git", "status", "--porcelain", "--untracked-files=all") == ""
    files.write_json(root / "report/metrics.json", {"val_acc/mine": 0.5})
    shown = dvc(root, "exp", "show", "--csv") + dvc(root, "metrics", "diff", "--all")
    shown += dvc(root, "metrics", "show") + dvc(root, "stage", "list", "--all")
    assert "val_acc/mine" in shown and "projects" not in shown and "acc/teacher" not in shown
