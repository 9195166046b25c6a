"""The studies of distillation and of segmentation: their arms, what they choose, their tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT

from benchmarks import study_distillation, study_segmentation
from benchmarks.study_distillation import LOSSES, OF_ALL
from pipeline.core import files
from pipeline.methods.distillation import DISTILLATION
from pipeline.params.check import load
from pipeline.params.schema import Params

FIRST = {loss: many[0] for loss, many in LOSSES.items()}
GROUNDS = [study_distillation.digits(), study_distillation.cifar10(Path("images"))]
DENSE = {name: many[0] for name, many in study_segmentation.METHODS.items()}


def params(study, folder: Path) -> Params:
    files.write_json(folder / "params.yaml", study.values("all", 0))
    return load(folder / "params.yaml")


@pytest.fixture(autouse=True)
def root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("ground", GROUNDS, ids=lambda ground: ground.name)
def test_all_models_of_a_ground_are_right_params(ground, tmp_path):
    made = study_distillation.models(ground, FIRST)
    for models, test in ((made, True), (study_distillation.candidates(ground), False)):
        study = ground.study("x_", models, range(1), test)
        read = params(study, tmp_path)
        assert set(read.lineage()) == {"teacher", *models}
        assert read.report.test == test
        for name in ("teacher", *models):
            assert f"val_acc/{name}" in study.columns
            assert (f"acc/{name}" in study.columns) == test


def test_every_loss_of_images_is_studied_with_as_many_candidates():
    assert set(LOSSES) == set(DISTILLATION) - {"structured"}
    assert {len(many) for many in LOSSES.values()} == {3}


@pytest.mark.parametrize("ground", GROUNDS, ids=lambda ground: ground.name)
def test_students_have_one_size_and_make_equal_steps(ground, tmp_path):
    made = study_distillation.models(ground, FIRST)
    read = params(ground.study("x_", made, range(1), True), tmp_path)
    steps = ground.training["steps"]
    for name in OF_ALL:
        config = read.config(name)
        assert (config.network, config.width) == tuple(ground.student.values()), name
        methods = config.options.methods
        first = methods.hints.alone_steps if "hints" in methods.names else 0
        assert config.training.steps + first == steps, name
    large = {name: read.config(name) for name in study_distillation.LARGE}
    teacher = read.config("teacher")
    assert {(c.network, c.width) for c in large.values()} == {(teacher.network, teacher.width)}


def test_each_loss_has_the_weight_that_is_best_on_val(monkeypatch):
    best = {loss: number % 3 for number, loss in enumerate(LOSSES)}
    columns = {f"val_acc/{loss}-{n}": 0.5 + (n == best[loss]) for loss in LOSSES for n in range(3)}
    asked = []

    def run(study):
        asked.append((study.name, list(study.seeds), study.test))
        return [columns, {key: value / 2 for key, value in columns.items()}]

    monkeypatch.setattr(study_distillation, "run", run)
    chosen = study_distillation.choose(GROUNDS[0])
    assert chosen == {loss: many[best[loss]] for loss, many in LOSSES.items()}
    assert asked == [("tune_distillation_digits", [0, 1, 2], False)]


def made_up(names, whats, value) -> list[dict[str, float]]:
    return [
        {f"{what}/{name}": value(place, seed) for what in whats for place, name in enumerate(names)}
        for seed in range(3)
    ]


def test_the_table_says_what_is_more_than_alone_and_what_is_kept():
    names = ["teacher", "second", "e1", "s1", *OF_ALL, *study_distillation.LARGE]
    whats = ["acc", "val_acc", "num_parameters", "labelled_acc"]
    rows = made_up(names, whats, lambda place, seed: (50 + place + seed) / 100)
    table = study_distillation.table(rows).splitlines()
    lines = {line.split(" | ")[0].strip("| "): line for line in table}
    more = names.index("logits") - names.index("alone")
    assert f"+{more}.0" in lines["logits"]
    assert lines["alone"].rstrip().endswith("|  |  |")
    kept = sum((50 + names.index("of_e1") + s) / (50 + names.index("e1") + s) for s in range(3)) / 3
    assert f"{100 * kept:.1f}" in lines["of_e1"]
    for row in rows:
        row["labelled_acc/large_soft"] -= 0.1
    assert "large_soft - large_alone, gaps: -10.0" in study_distillation.gaps(rows)


@pytest.mark.parametrize("test", [True, False])
def test_all_models_of_scenes_are_right_params(tmp_path, test):
    made = study_segmentation.models(0.2, DENSE)
    study = study_segmentation.study("x_", made, range(1), test)
    read = params(study, tmp_path)
    assert set(read.lineage()) == {"teacher", "alone", "labelled", "kd", "structured"}
    assert {read.config(name).training.learning_rate for name in made} == {0.2}
    assert ("miou/kd" in study.columns) == test == read.report.test
    assert read.distilled["labelled"].images == "labelled"


def test_students_of_scenes_see_as_many_images_at_as_many_steps(tmp_path):
    made = study_segmentation.models(0.2, DENSE)
    read = params(study_segmentation.study("x_", made, range(1), True), tmp_path)
    for name in made:
        training = read.config(name).training
        seen = training.batch_size
        if name in ("kd", "structured"):
            seen += training.num_unlabelled
        assert (seen, training.steps) == (study_segmentation.BATCH, study_segmentation.STEPS), name


def test_of_scenes_too_the_best_on_val_is_taken(monkeypatch):
    rows = [{f"val_miou/{name}-{n}": float(n == 1) for name in ("alone", *DENSE) for n in range(3)}]
    monkeypatch.setattr(study_segmentation, "run", lambda study: rows)
    assert study_segmentation.choose_rate() == study_segmentation.RATES[1]
    wanted = {name: many[1] for name, many in study_segmentation.METHODS.items()}
    assert study_segmentation.choose(0.2) == wanted


def test_the_table_of_scenes_compares_with_the_student_alone():
    names = ["teacher", "alone", "kd"]
    whats = ["miou", "val_miou", "acc", "num_parameters"]
    rows = made_up(names, whats, lambda place, seed: (50 + 3 * place + seed) / 100)
    table = study_segmentation.table(rows, names).splitlines()
    assert "+3.0" in table[-1] and table[-2].rstrip().endswith("|  |") and "57.0" in table[-1]
