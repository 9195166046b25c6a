"""Who teaches whom: names, parents, rings, classes that a chain knows already."""

import pytest
from conftest import write_params
from faults import (
    assert_names,
    example,
    lines_of,
    lines_with,
    with_generations,
    with_pair,
    with_tasks,
)

from pipeline.params.check import load


@pytest.mark.parametrize(
    ("teachers", "ring"),
    [
        ({"g1": "g1"}, "g1 -> g1"),
        ({"g1": "g2", "g2": "g1"}, "g1 -> g2 -> g1"),
        ({"g1": "g3", "g2": "g1", "g3": "g2"}, "g1 -> g3 -> g2 -> g1"),
    ],
)
def test_a_ring_of_teachers_is_refused(tmp_path, teachers, ring):
    lines = lines_of(tmp_path, with_generations(**teachers))
    assert any(f"teaches itself ({ring})" in line for line in lines)
    assert len(lines) == len(teachers)


def test_a_model_behind_a_ring_is_no_fault_of_its_own(tmp_path):
    lines = lines_of(tmp_path, with_generations(g1="g2", g2="g1", g3="g1"))
    assert len(lines) == 2 and not any("generations.g3" in line for line in lines)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ({"m1": "m1-teacher"}, ["m1 -> m1-teacher"]),
        ({"m1": "m2-teacher", "m2": "m1"}, ["m1 -> m2-teacher -> m1", "m2 -> m1 -> m2-teacher"]),
        (
            {"m1": "m2-teacher", "m2": "m1-teacher"},
            ["m1 -> m2-teacher -> m1-teacher", "m2 -> m1-teacher -> m2-teacher"],
        ),
    ],
)
def test_a_pair_that_begins_with_what_it_makes_is_a_ring(tmp_path, pairs, words):
    values = example() | {"meta_pseudo_labels": {m: {"teacher": t} for m, t in pairs.items()}}
    lines = lines_of(tmp_path, values)
    assert len(lines) == len(pairs)
    for name, line, ring in zip(pairs, lines, words):
        assert_names(line, f"meta_pseudo_labels.{name}.teacher")
        assert f"teaches itself ({ring}); fix: begin the chain at 'teacher'" in line


def test_a_teacher_that_does_not_exist_is_refused(tmp_path):
    (line,) = lines_of(tmp_path, with_generations(g1="teacher", g2="g11"))
    assert_names(line, "generations.g2.teacher")
    assert "no model is named 'g11'" in line and "did you mean 'g1'?" in line


def test_a_final_that_does_not_exist_is_refused_even_with_other_faults(tmp_path):
    values = with_generations(g1="teacher") | {"final": "g2", "seed": "x"}
    assert {line.split("(")[1].split(")")[0] for line in lines_of(tmp_path, values)} == {
        "final",
        "seed",
    }


@pytest.mark.parametrize("name", ["teacher", "base", "G1", "1g", "g 1", "../g", "", "g.1", "é"])
def test_a_reserved_or_impossible_name_is_refused(tmp_path, name):
    lines = lines_of(tmp_path, with_generations(**{name: "teacher"}))
    assert len(lines) == 1, lines
    assert f"(generations.{name})" in lines[0]


@pytest.mark.parametrize("name", [1, None, float("nan")])
def test_a_name_that_is_no_text_is_one_line(tmp_path, name):
    values = example() | {"meta_pseudo_labels": {name: {"teacher": "g1"}}}
    (line,) = lines_of(tmp_path, values)
    assert "cannot be a model's name; fix: use lower-case letters" in line


def test_the_name_of_what_a_pairs_teacher_becomes_may_not_be_taken(tmp_path):
    values = with_pair()
    values["generations"]["m1-teacher"] = values["generations"]["g1"]
    (line,) = lines_of(tmp_path, values)
    assert_names(line, "meta_pseudo_labels.m1")
    assert "the name 'm1-teacher', of what its teacher becomes, is taken" in line


@pytest.mark.parametrize("block", ["generations", "meta_pseudo_labels", "baselines", "tasks"])
def test_a_model_without_a_block_is_one_line(tmp_path, block):
    values = example()
    values[block]["n1"] = None
    (line,) = lines_of(tmp_path, values)
    assert_names(line, f"{block}.n1")
    assert line.endswith("None is of the wrong type; fix: expected a block of keys")


@pytest.mark.parametrize("block", ["generations", "ensembles", "specialists", "distilled"])
def test_a_block_that_is_missing_is_told_how_to_have_none(tmp_path, block):
    """As a file from before there was such a block."""
    values = example()
    values[block] = {}
    if block == "generations":
        values |= {"tasks": {}, "baselines": {}, "meta_pseudo_labels": {}, "final": "teacher"}
    del values[block]
    lines = lines_of(tmp_path, values)
    assert any(f"'{block}' is missing; fix: add it: `{block}: {{}}` for none" in x for x in lines)


def test_no_generation_at_all_is_allowed(tmp_path):
    params = load(write_params(tmp_path, with_generations()))
    assert list(params.lineage()) == ["teacher"]


def test_models_come_after_their_parents_whatever_the_order_of_the_file(tmp_path):
    values = with_generations(c="b", b="a", a="teacher")
    params = load(write_params(tmp_path, values))
    assert list(params.lineage()) == ["teacher", "a", "b", "c"]
    assert [params.parent(name) for name in params.lineage()] == [None, "teacher", "a", "b"]


# --- tasks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("specs", "key", "words"),
    [
        ({"t1": {"classes": [7, 8]}}, "tasks.t1.classes", "'g2' knows 7 already"),
        (
            {"t1": {}, "t2": {"base": "t1", "classes": [9, 10]}},
            "tasks.t2.classes",
            "'t1' knows 9 already",
        ),
        (
            {"t2": {"base": "t1", "classes": [8, 10]}, "t1": {"classes": [8, 9]}},
            "tasks.t2.classes",
            "'t1' knows 8 already",
        ),
        ({"t1": {"base": "m1-teacher", "classes": [7]}}, "tasks.t1.classes", "knows 7 already"),
        ({"t1": {"base": "b1", "classes": [7]}}, "tasks.t1.classes", "'b1' knows 7 already"),
        ({"t1": {"base": "t1"}}, "tasks.t1.base", "teaches itself (t1 -> t1)"),
        ({"g1": {}}, "tasks.g1", "the name 'g1' is taken"),
        ({"base": {}}, "tasks.base", "the name 'base' is taken"),
    ],
)
def test_a_task_at_fault_is_one_line(tmp_path, specs, key, words):
    (line,) = lines_of(tmp_path, with_tasks(**specs))
    assert_names(line, key)
    assert words in line


@pytest.mark.parametrize("block", ["generations", "meta_pseudo_labels"])
def test_a_task_cannot_teach(tmp_path, block):
    values = with_tasks(t1={"base": "g1"})
    values[block]["n1"] = {"teacher": "t1", "network": "small_cnn"}
    (line,) = lines_of(tmp_path, values)
    assert_names(line, f"{block}.n1.teacher")
    assert "'t1' is a task" in line and line.endswith("fix: name the teacher or a generation")


def test_two_tasks_may_learn_the_same_classes_on_models_that_lack_them(tmp_path):
    values = with_tasks(t1={"base": "g1"}, t2={"base": "g2"})
    assert load(write_params(tmp_path, values)).parent("t2") == "g2"


def test_a_fault_elsewhere_in_its_block_does_not_hide_a_fault_of_the_chain(tmp_path):
    lines = lines_of(tmp_path, with_tasks(t1={"classes": [7, 8], "scenario": "both"}))
    assert len(lines) == 2 and "'g2' knows 7 already" in lines[1]


def test_classes_of_a_base_task_that_has_none_are_no_fault_of_a_task(tmp_path):
    (line,) = lines_with(tmp_path, "data.classes", "all")
    assert_names(line, "data.classes")
