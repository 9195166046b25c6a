"""The study of the default chain: its arms, and how their rows are put together."""

from benchmarks import study_digits
from benchmarks.lineage_arms import per_step
from pipeline.params.check import load


def test_alone_sees_as_many_images_as_teacher_and_generations():
    params = load("params.yaml")
    seen = {}
    for name in study_digits.LINEAGE:
        config = params.config(name)
        student = config.parent is not None
        methods = config.options.methods.names
        each = per_step(config.training.model_dump(), methods, student)
        seen[name] = config.training.steps * each + 860 * student
    first = params.config("teacher")
    own = per_step(first.training.model_dump(), first.options.methods.names, is_student=False)
    alone = study_digits.ALONE * own
    assert 0.99 * sum(seen.values()) < alone <= sum(seen.values())


def test_alone_learns_as_the_teacher_begins_and_the_others_from_the_same_base():
    study = study_digits.study()
    default, alone, without = (study.values(arm, 760) for arm in study.arms)
    teacher = default["teacher"]
    made = alone["baselines"]["alone"]
    assert {k: v for k, v in made.items() if k != "training"} == {
        k: v for k, v in teacher.items() if k != "training"
    }
    assert made["training"] == {"steps": study_digits.ALONE} and alone["tasks"] == {}
    assert without["generations"] == default["generations"] and without["teacher"] == teacher
    assert set(without["tasks"]) == {"t1_lwf", "t1_ft"}
    assert set(without["tasks"]["t1_lwf"]["methods"]) == {"lwf"}
    assert without["tasks"]["t1_ft"]["methods"] == {}


def test_rows_of_all_arms_are_put_together_by_seed():
    rows = [
        {"arm": "default", "seed": "1", "recipe": "x", "acc/teacher": "0.5", "acc/g2": "0.6"},
        {"arm": "alone", "seed": "1", "recipe": "y", "acc/teacher": "0.1", "acc/alone": "0.7"},
        {"arm": "default", "seed": "2", "recipe": "x", "acc/teacher": "0.4", "acc/g2": ""},
    ]
    found = study_digits.by_seed(rows)
    assert found["1"] == {"acc/teacher": 0.5, "acc/g2": 0.6, "acc/alone": 0.7}
    assert study_digits.values_of(found, "acc/g2", "acc/alone").tolist() == [[0.6, 0.7]]
    assert study_digits.values_of(found, "acc/teacher").tolist() == [[0.5], [0.4]]
    assert study_digits.values_of(found, "acc/t1").shape == (0, 1)
