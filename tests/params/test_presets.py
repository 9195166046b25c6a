"""Presets: projects of their own on the same graph and code, with right params."""

import subprocess

import pytest
from conftest import ROOT

from pipeline.params.check import load

PRESETS = sorted(path for path in (ROOT / "presets").iterdir() if path.is_dir())
EVERY = pytest.mark.parametrize("folder", PRESETS, ids=lambda path: path.name)


@EVERY
def test_its_params_are_right(folder):
    params = load(folder / "params.yaml")
    assert params.data.source == "folder" and params.final in params.generations


@EVERY
def test_it_runs_this_graph_on_this_code(folder):
    """The graph is a copy (DVC reads no link in a revision); `make presets` makes it."""
    for name in ("dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        assert not (folder / name).is_symlink()
        assert (folder / name).read_bytes() == (ROOT / name).read_bytes(), name
    for name in ("pipeline", "stages", ".dvc/plots"):
        assert (folder / name).is_symlink() and (folder / name).resolve() == ROOT / name


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a ZIP of the project knows no git")
@EVERY
def test_git_sees_nothing_that_it_makes(folder):
    made = ["models/x", "data/prepared/x", "report/html/x", "mlflow.db", "mlartifacts/x"]
    made += [".lineage/x", ".dvc/cache/x", ".dvc/tmp/x", "data/cifar10"]
    asked = [f"{folder.relative_to(ROOT)}/{name}" for name in made]
    said = subprocess.run(
        ["git", "check-ignore", *asked], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == asked
