"""One `dvc repro` of a tiny project: what it leaves on disk, in git and in MLflow."""

from __future__ import annotations

import json

import pytest
from conftest import EVALUATED, STEPS, same_files, write_params
from projects import call, dvc, short_values

from pipeline.core import files
from pipeline.labelling import pseudo_labels
from pipeline.running import times


def test_every_model_is_there_and_nothing_is_left_to_do(reproduced):
    for name in ("teacher", "g1"):
        names = {p.name for p in (reproduced / "models" / name).iterdir()}
        assert names == {"card.json", "curves.csv", "model.safetensors"}
    assert "up to date" in dvc(reproduced, "repro", "--dry")
    assert list((reproduced / ".lineage").glob("resume/*/step-*")) == []


def test_every_stage_left_its_time(reproduced, monkeypatch):
    monkeypatch.chdir(reproduced)
    known = times.read()
    assert sorted(known) == sorted([*EXECUTED, "report"])
    assert all(0 < seconds < 300 for seconds in known.values())


def test_git_sees_the_numbers_and_not_the_models(reproduced):
    tracked = call(reproduced, "git", "ls-files").splitlines()
    assert {"dvc.lock", "report/metrics.json", "report/data/models.csv"} <= set(tracked)
    hidden = ("models/", "data/prepared/", "report/html", "mlflow", "mlartifacts", ".lineage")
    assert not [path for path in tracked if path.startswith(hidden)]
    assert call(reproduced, "git", "status", "--porcelain") == ""


def test_the_graph_gives_the_bytes_that_the_stages_give(reproduced, tmp_path, monkeypatch):
    from stages import prepare, student, teacher
    from stages import pseudo_label as label

    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, short_values())
    prepare.main()
    teacher.main()
    label.main(["g1"])
    student.main(["g1"])
    for path in ("data/prepared/base", "models/teacher", "models/g1"):
        same_files(tmp_path / path, reproduced / path)


def test_a_fresh_clone_takes_everything_from_the_cache(reproduced, tmp_path):
    call(tmp_path, "git", "clone", "-q", str(reproduced), "clone")
    clone = tmp_path / "clone"
    dvc(clone, "cache", "dir", "--local", str(reproduced / ".dvc/cache"))
    dvc(clone, "checkout")
    assert "up to date" in dvc(clone, "status")
    same_files(clone / "models", reproduced / "models")


# --- what it left in MLflow -------------------------------------------------------------------


@pytest.fixture(scope="session")
def runs(reproduced) -> dict[str, list]:
    """The runs of each experiment, the oldest first."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{reproduced}/mlflow.db")
    return {
        name: client.search_runs(
            [client.get_experiment_by_name(name).experiment_id],
            order_by=["attributes.start_time ASC"],
        )
        for name in ("lineage", "lineage-stages")
    }


EXECUTED = [
    "prepare",
    "teacher",
    "pseudo_label@g1",
    "student@g1",
    "meta_pseudo_labels@m1",
    "baseline@b1",
]


@pytest.fixture
def stage_runs(runs) -> dict:
    return {run.data.tags["dvc.stage"]: run for run in runs["lineage-stages"]}


def test_every_executed_stage_is_a_finished_run_with_its_commit(runs, stage_runs, reproduced):
    assert [run.data.tags["dvc.stage"] for run in runs["lineage-stages"]] == EXECUTED
    commit = call(reproduced, "git", "rev-parse", "HEAD~1").strip()
    for stage, run in stage_runs.items():
        assert run.info.status == "FINISHED" and run.info.run_name == stage
        assert run.data.tags["mlflow.source.git.commit"] == commit
        assert run.info.artifact_uri.startswith((reproduced / "mlartifacts").as_uri())


@pytest.mark.parametrize("name", ["teacher", "g1"])
def test_the_run_of_a_model_has_its_recipe_its_curve_and_its_files(stage_runs, reproduced, name):
    from mlflow import MlflowClient

    run = stage_runs["teacher" if name == "teacher" else f"student@{name}"]
    card = files.read_json(reproduced / "models" / name / "card.json")
    assert run.data.tags["output.sha256"] == card["sha256"]
    assert run.data.tags["model.sha256"] == card["sha256"]
    for parent, sha256 in card["parents"].items():
        assert run.data.tags[f"parent.{parent}"] == sha256
    assert run.data.params["training.steps"] == str(STEPS) and run.data.params["seed"] == "0"
    assert run.data.metrics["final/val_acc"] == card["metrics"]["val_acc"]
    client = MlflowClient(f"sqlite:///{reproduced}/mlflow.db")
    for metric in ("loss", "val_acc", "val_loss", "learning_rate"):
        seen = client.get_metric_history(run.info.run_id, metric)
        assert [m.step for m in seen] == EVALUATED, metric
    kept = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert kept == {"card.json", "curves.csv", "model.safetensors"}


def test_the_runs_of_data_and_labels_name_what_they_made(stage_runs, reproduced):
    sealed = json.loads((reproduced / "data/prepared/base/dataset.json").read_text())
    assert stage_runs["prepare"].data.tags["output.sha256"] == sealed["seal"]
    path = reproduced / "data/pseudo_labels/g1.safetensors"
    made, _ = pseudo_labels.load(path)
    run = stage_runs["pseudo_label@g1"]
    assert run.data.tags["output.sha256"] == files.sha256(path)
    assert run.data.metrics["rows"] == len(made.index)
    assert run.data.params["labels.balance"] == "equal"


def test_the_run_of_the_pipeline_compares_and_links(runs, stage_runs, reproduced):
    (run,) = runs["lineage"]
    metrics = files.read_json(reproduced / "report/metrics.json")
    assert {k: run.data.metrics[k] for k in metrics} == pytest.approx(metrics)
    assert run.data.params["training.steps"] == str(STEPS)
    assert run.data.params["generations.g1.teacher"] == "teacher"
    assert run.data.tags["final"] == "g1" and run.info.status == "FINISHED"
    for stage, other in stage_runs.items():
        assert run.data.tags[f"run.{stage.replace('@', '/')}"] == other.info.run_id
