"""`cross-validate`: every labelled image is val once, and what each fold gave is put together."""

import argparse
import importlib
import os
from pathlib import Path

import pytest
from conftest import ROOT, tiny_values, write_params
from faults import set_key

from pipeline.commands import cross_validate
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.report.intervals import wilson


def values(**changes) -> dict:
    made = tiny_values() | {"tasks": {}, "final": "g1", "baselines": {}, "meta_pseudo_labels": {}}
    del made["generations"]["g2"]
    made["data"] |= {"val": 0.3, "test": 0.2}
    for key, value in changes.items():
        set_key(made, key.replace("__", "."), value)
    return made


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A project, where `dvc repro` is each stage's `main` in turn."""
    for name in ("dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore", ".dvc/plots"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("pipeline", "stages", "data"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)

    def reproduce(folder: Path, stages: list[str]) -> None:
        back = Path.cwd()
        os.chdir(folder)
        for stage in ["prepare", *stages]:
            name, *which = stage.split("@")
            before = [f"pseudo_label@{which[0]}"] if name == "student" else []
            for one in [*before, stage]:
                module, *arguments = one.split("@")
                importlib.import_module(f"stages.{module}").main(arguments)
        os.chdir(back)

    monkeypatch.setattr(cross_validate, "_reproduce", reproduce)
    return tmp_path


def run(model=None) -> None:
    cross_validate.run(argparse.Namespace(model=model))


def test_every_fold_is_val_once_and_the_table_counts_all_of_them(here, capsys):
    write_params(here, values())
    run()
    said = capsys.readouterr().out.splitlines()
    paths, right = [], {"teacher": 0.0, "g1": 0.0}
    for fold in range(2):
        folder = here / "projects/folds" / str(fold)
        dataset = store.load(folder / "data/prepared/base")
        paths.append(set(dataset.paths("val")))
        for name in right:
            card = files.read_json(folder / "models" / name / "card.json")
            right[name] += card["metrics"]["val_acc"] * dataset.num("val")
    assert len(paths) == 2 and not paths[0] & paths[1]
    num = sum(map(len, paths))
    rows = {line.split()[0]: line.split() for line in said if line.startswith(("teacher ", "g1 "))}
    for name, share in right.items():
        assert float(rows[name][1]) == pytest.approx(share / num, abs=1e-4)
        assert len(rows[name]) == 5, "the accuracy, its interval, and one of each fold"
    assert said[-1].startswith(f"on {num} labelled images")


def test_interval_and_accuracy_are_of_all_folds_together():
    *_, row, _, closing = cross_validate._table([40, 60], {"g1": [39, 41]}).splitlines()
    low, high = wilson(80, 100)
    assert row.split() == ["g1", "0.8000", f"({low:.3f}-{high:.3f})", "0.975", "0.683"]
    assert closing.startswith("on 100 labelled images")


def test_tasks_are_left_out_and_a_model_takes_its_parents_along(tiny):
    names = cross_validate._models(tiny, None)
    assert "t1" not in names and {"teacher", "g1", "g2", "b1", "m1"} <= set(names)
    assert cross_validate._models(tiny, "g2") == ["teacher", "g1", "g2"]


def test_a_fold_is_no_experiment_and_its_failure_ends_it(tmp_path, monkeypatch):
    seen = {}

    def run(command, **how):
        seen.update(how, stages=command[command.index("--quiet") + 1 :])
        return argparse.Namespace(returncode=3)

    monkeypatch.setattr(cross_validate.subprocess, "run", run)
    monkeypatch.setenv("LINEAGE_TRACKING", "on")
    with pytest.raises(SystemExit, match="3"):
        cross_validate._reproduce(tmp_path, ["teacher", "student@g1", "teacher"])
    assert seen["stages"] == ["teacher", "student@g1"] and seen["cwd"] == tmp_path
    assert seen["env"].items() >= {"LINEAGE_TRACKING": "off"}.items()


def test_a_model_alone_is_trained_with_what_it_comes_from(here, capsys):
    write_params(here, values())
    run("teacher")
    assert not list(here.glob("projects/folds/*/models/g1"))
    with pytest.raises(UserError, match="no model of the base task is named 'g7'; fix: use one of"):
        run("g7")


def test_folds_need_a_share_of_val(here):
    made = values(data__source="folder", data__root="data", data__val=0.0, data__fold=0)
    write_params(here, made)
    with pytest.raises(UserError, match="data.val: 0: the source brings its own val images"):
        run()
