"""The studies of tasks: their params are right, wherever the images lie; what is chosen is best."""

from pathlib import Path

import pytest
from conftest import write_params

from benchmarks import (
    continual,
    study_class_incremental,
    study_dropout,
    study_forgetting,
    study_lwf,
    study_old_images,
)
from benchmarks.study import Study
from pipeline.params.check import load


def studies(images: Path) -> list[Study]:
    """One of each, with every candidate in it."""
    made = []
    for scenario, module in (("class", study_forgetting), ("task", study_lwf)):
        tasks = {
            f"{arm}-{number}": task
            for arm, many in module.candidates().items()
            for number, task in enumerate(many)
        }
        for pair in continual.pairs(scenario, images):
            made.append(pair.study("search", tasks, [], range(1), test=False))
    made += [study_dropout.study(pair) for pair in continual.pairs("task", images, 200)]
    many = {
        f"{arm} {number}": task
        for arm, tasks in study_class_incremental.candidates().items()
        for number, task in enumerate(tasks)
    }
    made.append(study_class_incremental.study("search", images, 2, many, test=False))
    return [*made, study_old_images.study(images)]


def test_every_candidate_is_a_task_that_params_allow(tmp_path):
    """And rows of other places of the same images count."""
    for here, there in zip(studies(tmp_path), studies(tmp_path / "elsewhere"), strict=True):
        for arm in here.arms:
            load(write_params(tmp_path, here.values(arm, 0)))
        first = next(iter(here.arms))
        assert here.recipe(first) == there.recipe(first)


@pytest.mark.parametrize("module", [study_forgetting, study_lwf, study_class_incremental])
def test_every_arm_has_as_many_candidates_as_any_other(module):
    """But for plain fine-tuning beside methods with weights, which has none."""
    arms = {arm: tasks for arm, tasks in module.candidates().items() if "baseline" not in arm}
    assert len({len(tasks) for tasks in arms.values()}) == 1


def test_of_each_arm_the_best_mean_on_val_is_taken(monkeypatch):
    table = [
        {"s/a-0": "0.1", "s/a-1": "0.5", "s/b-0": "0.3", "s/b-1": "0.2"},
        {"s/a-0": "0.7", "s/a-1": "0.5", "s/b-0": "0.3", "s/b-1": "0.2"},
    ]
    monkeypatch.setattr(continual, "run", lambda study: table)
    arms = {name: [{"joint": False}, {"joint": True}] for name in "ab"}
    chosen = continual.digits("class").choose("x", arms, "s/{}")
    assert chosen == {"a": {"joint": True}, "b": {"joint": False}}


def test_of_ten_classes_too_the_best_mean_on_val_is_taken(monkeypatch, tmp_path):
    key = f"val_acc/t{study_class_incremental.SEARCHED}"
    arms = study_class_incremental.candidates()
    best = {arm: number % 4 for number, arm in enumerate(arms)}
    table = [
        {"arm": f"{arm} {number}", key: str(0.5 - seed + (number == best[arm]))}
        for arm in arms
        for number in range(4)
        for seed in range(2)
    ]
    monkeypatch.setattr(study_class_incremental, "run", lambda study: table)
    chosen = study_class_incremental.choose(tmp_path)
    assert chosen == {arm: many[best[arm]] for arm, many in arms.items()}


def test_differences_are_of_the_same_seeds():
    arms = study_class_incremental.EXPECTED
    rows = [
        {"arm": arm, "seed": str(seed), "acc/t4": str(seed + 0.1 * number)}
        for seed in range(3)
        for number, arm in enumerate(reversed(arms))
    ]
    lines = study_class_incremental.differences(rows).splitlines()
    assert lines[0] == "joint - BiC: +10.0 ± 0.0" and len(lines) == 4


def test_later_keys_win_and_recipes_are_merged_key_by_key():
    one = {"base": "a", "training": {"steps": 3, "shift": 1}}
    made = continual.merged(one, {"base": "b", "training": {"steps": 4}})
    assert made == {"base": "b", "training": {"steps": 4, "shift": 1}}
    assert one["training"] == {"steps": 3, "shift": 1}


def test_a_single_value_has_no_interval():
    assert continual.cell([0.7026]) == "70.3" and continual.cell([0.0251], "+") == "+2.5"
    assert continual.cell([0.5, 0.7]).startswith("60.0 ± ")
