"""The graph: deps are the real imports, and editing one generation re-runs what it must."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT, real_values, same_files, tiny_values, write_params
from imports import OURS, closure, has_code
from projects import call, dvc, project, short_values
from ruamel.yaml import YAML

from pipeline.core import files
from pipeline.labelling import pseudo_labels
from pipeline.params.schema import Params

# What a stage may run without being re-run when it changes: it does not touch the outputs.
NEUTRAL = frozenset(
    f"pipeline.{name}"
    for name in ("params", "tracking", "errors", "progress", "resume", "signals", "stage", "times")
)
GRAPH = YAML(typ="safe").load(ROOT / "dvc.yaml")
STAGES = {name: stage.get("do", stage) for name, stage in GRAPH["stages"].items()}
EVERY = pytest.mark.parametrize("name", STAGES)


def covered(dependency: str) -> set[str]:
    """The files with code that a dependency on a file or a folder of ours covers."""
    return {path for path in all_code() if path == dependency or path.startswith(f"{dependency}/")}


@cache
def all_code() -> frozenset[str]:
    """Every file of ours with code, as `closure` names them."""
    found = (p.relative_to(ROOT) for folder in OURS for p in (ROOT / folder).rglob("*.py"))
    return frozenset(str(p) for p in found if has_code(ROOT / p))


# --- dvc.yaml itself --------------------------------------------------------------------------


@EVERY
def test_deps_on_code_are_the_files_that_the_stage_runs(name):
    """A folder may hold more than the stage runs: who adds a file there need not list it."""
    ours = [d for d in STAGES[name]["deps"] if d.startswith(OURS)]
    runs = closure(STAGES[name]["cmd"].split()[2], without=NEUTRAL)
    assert runs <= set().union(*map(covered, ours))
    assert [d for d in ours if not covered(d) & runs] == []
    assert not any(is_neutral(path) for d in ours for path in covered(d))
    assert sorted(set(ours)) == ours


def is_neutral(path: str) -> bool:
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return any(module == name or module.startswith(f"{name}.") for name in NEUTRAL)


@EVERY
def test_params_are_blocks_that_exist(name):
    known = {*Params.model_fields}
    assert {key.split(".")[0] for key in STAGES[name]["params"]} <= known
    assert name != "report" or set(STAGES[name]["params"]) == known


@EVERY
def test_every_stage_is_a_module_with_a_description(name):
    assert STAGES[name]["cmd"].split()[:3] == ["python", "-m", f"stages.{name}"]
    assert STAGES[name]["desc"] and (ROOT / f"stages/{name}.py").is_file()


# --- one tiny run -----------------------------------------------------------------------------


def test_every_model_is_there_and_nothing_is_left_to_do(reproduced):
    for name in ("teacher", "g1"):
        names = {p.name for p in (reproduced / "models" / name).iterdir()}
        assert names == {"card.json", "curves.csv", "model.safetensors"}
    assert "up to date" in dvc(reproduced, "repro", "--dry")
    assert list((reproduced / ".lineage").glob("resume/*/step-*")) == []


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


# --- what re-runs: the graph with stages that only say that they ran ---------------------------

STAND_IN = """#!/bin/sh
echo "$2 $3" >> ran
case $2 in
    stages.prepare) out=data/prepared/base/x ;;
    stages.prepare_task) out=data/prepared/$3/x ;;
    stages.teacher) out=models/teacher/x ;;
    stages.pseudo_label) out=data/pseudo_labels/$3.safetensors ;;
    stages.report) out=report/html/x; mkdir -p report/data; echo $$ > report/metrics.json ;;
    stages.meta_pseudo_labels)
        out=models/$3/x; mkdir -p "models/$3-teacher"; echo $$ > "models/$3-teacher/x" ;;
    *) out=models/$3/x ;;
esac
mkdir -p "${out%/*}"
echo $$ > "$out"
"""


@pytest.fixture(scope="session")
def standing_in(tmp_path_factory) -> Path:
    """A project whose stages write other bytes at every run, reproduced. Read only."""
    folder = project(tmp_path_factory.mktemp("graph"), tiny_values())
    (folder / "bin").mkdir()
    (folder / "bin/python").write_text(STAND_IN)
    (folder / "bin/python").chmod(0o755)
    (folder / "ran").write_text("")
    dvc(folder, "repro", path=folder / "bin")
    return folder


@pytest.fixture
def graph(standing_in, tmp_path) -> Path:
    """A copy of that project, to change."""
    return shutil.copytree(standing_in, tmp_path / "graph", symlinks=True)


def ran(folder: Path) -> list[str]:
    """The stages that `dvc repro` runs now."""
    (folder / "ran").write_text("")
    dvc(folder, "repro", path=folder / "bin")
    lines = (folder / "ran").read_text().splitlines()
    return sorted(line.removeprefix("stages.").strip().replace(" ", "@") for line in lines)


def follows(*models: str) -> list[str]:
    """The stages that make these models, and the report."""
    students = [f"{stage}@{m}" for m in models for stage in ("pseudo_label", "student")]
    pairs = ["meta_pseudo_labels@m1"] if "g1" in models else []
    return sorted([*students, *pairs, "extend@t1", "report"])


TASK = ["extend@t1", "prepare_task@t1", "report"]  # both name the whole of the task's block
CHANGES = {
    "edit g2": (lambda v: v["generations"]["g2"].update(width=0.5), follows("g2")),
    "edit g1": (lambda v: v["generations"]["g1"].update(width=0.5), follows("g1", "g2")),
    "add g3": (
        lambda v: v["generations"].update(g3={"teacher": "g2", "network": "small_cnn"}),
        ["pseudo_label@g3", "report", "student@g3"],
    ),
    "drop t1": (lambda v: v.update(tasks={}, final="g2"), ["report"]),
    "edit t1": (lambda v: v["tasks"]["t1"].update(methods=[]), TASK),
    "add t2": (
        lambda v: v["tasks"].update(t2=v["tasks"]["t1"] | {"base": "g1"}),
        ["extend@t2", "prepare_task@t2", "report"],
    ),
    "edit m1": (
        lambda v: v["meta_pseudo_labels"]["m1"].update(width=0.5),
        ["meta_pseudo_labels@m1", "report"],
    ),
    "m1's teacher teaches": (
        lambda v: v["generations"]["g2"].update(teacher="m1-teacher"),
        follows("g2"),
    ),
    "edit b1": (lambda v: v["baselines"]["b1"].update(width=0.5), ["baseline@b1", "report"]),
    "drop b1": (lambda v: v.update(baselines={}), ["report"]),
    "b1 teaches": (
        lambda v: v["generations"]["g2"].update(teacher="b1"),
        follows("g2"),
    ),
    "edit report": (lambda v: v["report"].update(test=False), ["report"]),
    "edit labels": (
        lambda v: v["labels"].update(share=0.4),
        follows("g1", "g2"),
    ),
    "nothing": (lambda v: None, []),
}


QUICK = ("edit g2", "add g3", "add t2", "edit b1", "nothing")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in CHANGES],
)
def test_a_change_of_params_re_runs_what_it_must_and_nothing_else(graph, name):
    change, stages = CHANGES[name]
    values = tiny_values()
    change(values)
    write_params(graph, values)
    assert ran(graph) == stages


@pytest.mark.parametrize(
    ("path", "stages"),
    [
        ("pipeline/pseudo_labels.py", follows("g1", "g2")),
        pytest.param(
            "pipeline/methods/lwf.py",
            ["baseline@b1", "extend@t1", "meta_pseudo_labels@m1", "report"],
            marks=pytest.mark.slow,
        ),
        pytest.param("pipeline/report/table.py", ["report"], marks=pytest.mark.slow),
        pytest.param("pipeline/tracking/tracker.py", [], marks=pytest.mark.slow),
    ],
)
def test_a_change_of_code_re_runs_the_stages_that_run_it(graph, path, stages):
    with open(graph / path, "a") as file:
        file.write("\n# changed\n")
    assert ran(graph) == stages


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
def test_the_run_of_a_model_has_its_recipe_its_looks_and_its_files(stage_runs, reproduced, name):
    from mlflow import MlflowClient

    run = stage_runs["teacher" if name == "teacher" else f"student@{name}"]
    card = files.read_json(reproduced / "models" / name / "card.json")
    assert run.data.tags["output.sha256"] == card["sha256"]
    assert run.data.tags["model.sha256"] == card["sha256"]
    for parent, sha256 in card["parents"].items():
        assert run.data.tags[f"parent.{parent}"] == sha256
    assert run.data.params["training.steps"] == "12" and run.data.params["seed"] == "0"
    assert run.data.metrics["final/val_acc"] == card["metrics"]["val_acc"]
    client = MlflowClient(f"sqlite:///{reproduced}/mlflow.db")
    for metric in ("loss", "val_acc", "val_loss", "learning_rate"):
        seen = client.get_metric_history(run.info.run_id, metric)
        assert [m.step for m in seen] == [4, 8, 12], metric
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
    assert run.data.params["training.steps"] == "12"
    assert run.data.params["generations.g1.teacher"] == "teacher"
    assert run.data.tags["final"] == "g1" and run.info.status == "FINISHED"
    for stage, other in stage_runs.items():
        assert run.data.tags[f"run.{stage.replace('@', '/')}"] == other.info.run_id


def test_the_committed_graph_has_a_stage_for_every_entry_of_params():
    values, each = real_values(), {"generations", "meta_pseudo_labels", "baselines", "tasks"}
    loops = {stage["foreach"][2:-1] for stage in GRAPH["stages"].values() if "foreach" in stage}
    assert loops == each <= values.keys()
