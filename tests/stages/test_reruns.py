"""What `dvc repro` runs again after a change of params or of code: the real graph, with stages that
only record that they ran."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import tiny_values, write_params
from projects import dvc, project

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
    "edit t1": (lambda v: v["tasks"]["t1"].update(methods={}), TASK),
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


# every stage that trains or follows what is trained, so all but the two that prepare
TRAINED = sorted(["teacher", "baseline@b1", *follows("g1", "g2")])
CODE = {
    "a continual method, added": (["pipeline/methods/continual/new.py"], ["extend@t1", "report"]),
    "a continual method, changed": (["pipeline/methods/continual/lwf.py"], ["extend@t1", "report"]),
    "a semi-supervised method, added": (["pipeline/methods/semi_supervised/new.py"], TRAINED),
    "a semi-supervised method, changed": (["pipeline/methods/semi_supervised/uda.py"], TRAINED),
    "how labels are made": (["pipeline/labelling/pseudo_labels.py"], follows("g1", "g2")),
    "how tasks are learnt": (["pipeline/continual/extend.py"], ["extend@t1", "report"]),
    "Meta Pseudo Labels": (["pipeline/meta/pair.py"], ["meta_pseudo_labels@m1", "report"]),
    "a page of the report": (["pipeline/report/templates/page.html"], ["report"]),
    "one stage's script": (["stages/baseline.py"], ["baseline@b1", "report"]),
    "rooms that no output depends on": (
        [
            "pipeline/params/check.py",
            "pipeline/params/new.py",
            "pipeline/tracking/tracker.py",
            "pipeline/running/signals.py",
        ],
        [],
    ),
}
QUICK_CODE = ("a continual method, added", "rooms that no output depends on")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK_CODE else pytest.mark.slow) for n in CODE],
)
def test_a_change_of_code_re_runs_the_stages_that_run_it(graph, name):
    paths, stages = CODE[name]
    for path in paths:
        with open(graph / path, "a") as file:
            file.write("\n# changed\n")
    assert ran(graph) == stages
