"""Studies: which rows count, what arms are, and the differences they report."""

import pickle

import numpy as np
import pytest
from conftest import ROOT, tiny_values, write_params
from projects import short_values

from benchmarks import study, study_meta, study_noisy_student
from benchmarks.study import DROP, Study
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.params.check import load
from pipeline.params.schema import Params


@pytest.fixture
def toy(tmp_path, monkeypatch) -> Study:
    monkeypatch.chdir(tmp_path)
    params = write_params(tmp_path, tiny_values())
    arms = {"plain": {}, "hard": {"generations.g1.labels.kind": "hard"}}
    return Study("toy", arms, range(2), ["val_acc/g1", "seconds"], False, params)


def test_an_arm_changes_its_keys_and_the_seeds(toy):
    one, two = toy.values("plain", 3), toy.values("hard", 3)
    assert (one["seed"], one["data"]["seed"], one["report"]["test"]) == (3, 3, False)
    assert two["generations"]["g1"].pop("labels") == {"kind": "hard"} and one == two
    dropped = study.changed(tiny_values(), {"tasks.t1": DROP, "final": "g2"}, 0, test=True)
    assert dropped["tasks"] == {} and dropped["report"]["test"] is True


def test_arms_share_nothing(toy):
    shared = {"g1": {"teacher": "teacher", "network": "small_cnn"}}
    arms = {
        "one": {"generations": shared, "generations.g1.init": "teacher"},
        "two": {"generations": shared},
    }
    made = Study("toy", arms, [0], [], False, toy.params)
    assert made.values("one", 0)["generations"]["g1"]["init"] == "teacher"
    assert "init" not in made.values("two", 0)["generations"]["g1"]


def test_rows_of_other_params_do_not_count(toy):
    row = {"arm": "plain", "seed": 0, "recipe": toy.recipe("plain"), "val_acc/g1": 0.5}
    study._append(toy, row)
    study._append(toy, row | {"seed": 1, "recipe": "another"})
    assert [r["seed"] for r in study.rows(toy)] == ["0"]


def test_the_recipe_is_of_the_params_but_not_of_the_seed_or_the_folder(toy):
    recipe = toy.recipe("plain")
    assert recipe != toy.recipe("hard")
    values = tiny_values()
    values["data"]["root"], values["seed"] = "elsewhere", 9
    write_params(toy.params.parent, values)
    assert toy.recipe("plain") == recipe
    values["training"]["steps"] += 1
    write_params(toy.params.parent, values)
    assert toy.recipe("plain") != recipe


def test_the_recipe_is_the_same_however_a_default_is_written(toy):
    """The rows that were computed before a key was written out, or came, stay valid."""
    recipe, values = toy.recipe("plain"), tiny_values()
    values["teacher"] |= {"methods": {}, "training": {}}
    values["training"]["train"] = "all"
    write_params(toy.params.parent, values)
    assert toy.recipe("plain") == recipe
    values["training"]["train"] = "fc"
    write_params(toy.params.parent, values)
    assert toy.recipe("plain") != recipe


def test_a_chain_runs_every_stage_of_its_params(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    measured = study.chain(tiny_values())
    names = {key.split("/")[1] for key in measured if key.startswith("val_acc/")}
    assert names == {"teacher", "g1", "g2", "m1", "m1-teacher", "b1", "t1"}
    assert measured["seconds"] > 0 and list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_study_computes_what_is_missing_and_appends_it(toy):
    values = short_values() | {"baselines": {}, "meta_pseudo_labels": {}}
    write_params(toy.params.parent, values)
    study._append(toy, {"arm": "hard", "seed": 1, "recipe": toy.recipe("hard"), "val_acc/g1": 0.5})
    table = study.run(toy)
    assert {(row["arm"], row["seed"]) for row in table} == {
        (arm, str(seed)) for arm in toy.arms for seed in toy.seeds
    }
    assert [row["val_acc/g1"] for row in table][0] == "0.5" and len(table) == 4


def test_rows_older_than_the_column_count_and_can_be_continued(toy):
    toy.csv.parent.mkdir(parents=True)
    toy.csv.write_text("arm,seed,val_acc/g1\nplain,0,0.5\n")
    study._append(toy, {"arm": "plain", "seed": 1, "recipe": "x", "val_acc/g1": 0.6, "seconds": 1})
    assert [(r["seed"], r["val_acc/g1"]) for r in study.rows(toy)] == [("0", "0.5"), ("1", "0.6")]


def test_every_arm_of_the_studies_is_a_right_params_file(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    results = [
        study_noisy_student.digits(),
        study_noisy_student.cifar10(tmp_path, range(1), test=False),
        study_meta.digits(),
        study_meta.cifar10_pairs(tmp_path, range(1)),
    ]
    for one in results:
        for arm in one.arms:
            files.write_json(tmp_path / "params.yaml", one.values(arm, 0))
            assert isinstance(load(tmp_path / "params.yaml"), Params), arm


def test_baselines_see_as_many_images_as_the_lineage():
    """Within a step of either: training of every model, labelling, all views counted."""
    module = study_noisy_student
    assert abs(module.DIGITS_STEPS * 24 * 11 - module.DIGITS_IMAGES) <= 24 * 11
    assert abs(module.CIFAR10_STEPS * 64 * 15 - module.CIFAR10_IMAGES) <= 64 * 15


@pytest.mark.parametrize("feedback", ["loss_difference", "inner_product", "none"])
def test_pairs_see_as_many_images_whatever_their_feedback(feedback):
    """Within half a step: the passes are those that the card of a pair counts."""
    made = study_meta.pair(feedback, 10_000, 20, {"batch_size": 8, "unlabelled_ratio": 2})
    measured = {"loss_difference": 2, "inner_product": 1, "none": 0}[feedback]
    each = 8 + 3 * 16 + measured * 8
    assert abs(made["training"]["steps"] * each + 20 * 8 - 10_000) <= each / 2


def test_differences_are_seed_by_seed():
    rows = [("default", 0.5, 0), ("hard", 0.6, 0), ("default", 0.9, 1), ("hard", 0.8, 1)]
    table = [{"arm": a, "acc/g2": str(v), "seed": str(s)} for a, v, s in rows]
    results = study_noisy_student.against(table, "hard", "acc/g2")
    np.testing.assert_allclose(results, [10.0, -10.0])
    assert study_noisy_student.line("x", results).startswith("| x | 2 | +0.00 ± ")


def test_what_is_wrong_in_a_chain_travels_between_processes():
    """Else a study would hear of a broken pool."""
    faults = UserError.all([UserError("a", "is wrong", "mend it"), UserError("b", "too", "mend")])
    back = pickle.loads(pickle.dumps(faults))
    assert (back.lines, str(back)) == (faults.lines, str(faults))
