"""The block `methods`: the same in every model, the papers' defaults, what excludes what."""

from itertools import combinations

import pytest
from conftest import write_params
from faults import assert_names, example, lines_of, set_key

from pipeline.core.block import Block
from pipeline.methods.continual import CONTINUAL
from pipeline.methods.semi_supervised import SEMI_SUPERVISED
from pipeline.params.check import load

BLOCKS = ["teacher", "generations.g1", "baselines.b1", "tasks.t1"]
ALIKE = ["uda", "mean_teacher", "fixmatch", "flexmatch", "freematch", "softmatch"]
EXCLUDING = [
    (name, other)
    for name, method in (SEMI_SUPERVISED | CONTINUAL).items()
    for other in method.excludes
] + [(name, other) for other, name in combinations([n for n in SEMI_SUPERVISED if n in ALIKE], 2)]
APART = [  # those two in a block that may have both
    (block, name, other)
    for name, other in EXCLUDING
    for block in (BLOCKS if {name, other} <= set(SEMI_SUPERVISED) else ["tasks.t1"])
]


def with_methods(block: str, methods: dict) -> dict:
    """In a scenario that they have a meaning in."""
    values = set_key(example(), f"{block}.methods", methods)
    of = [(SEMI_SUPERVISED | CONTINUAL)[name].scenarios for name in methods]
    if block == "tasks.t1" and any("class" not in scenarios for scenarios in of):
        set_key(values, "tasks.t1.scenario", of[0][0])
    return values


def methods_of(folder, block: str, methods: dict) -> Block:
    params = load(write_params(folder, with_methods(block, methods)))
    return params.config(block.split(".")[-1]).options.methods


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("name", SEMI_SUPERVISED)
def test_a_method_without_options_has_its_papers(tmp_path, block, name):
    methods = methods_of(tmp_path, block, {name: {}})
    assert methods.names == (name,)
    assert getattr(methods, name) == SEMI_SUPERVISED[name].Options()


def test_an_option_is_kept_and_the_others_have_their_defaults(tmp_path):
    methods = methods_of(tmp_path, "tasks.t1", {"lwf": {"temperature": 3.0}})
    assert methods.lwf == CONTINUAL["lwf"].Options(temperature=3.0)
    assert methods.lwf != CONTINUAL["lwf"].Options()


@pytest.mark.parametrize("block", BLOCKS)
def test_an_empty_block_is_no_method(tmp_path, block):
    assert methods_of(tmp_path, block, {}).names == ()


def test_methods_come_in_the_order_of_the_code(tmp_path):
    some = {"uda": {}, "pseudo_label": {}, "lwf": {}}
    methods = methods_of(tmp_path, "tasks.t1", some)
    assert methods.names == ("lwf", "pseudo_label", "uda")


@pytest.mark.parametrize("block", BLOCKS[:3])
@pytest.mark.parametrize("name", CONTINUAL)
def test_what_keeps_earlier_tasks_is_for_tasks_alone(tmp_path, block, name):
    (line,) = lines_of(tmp_path, with_methods(block, {name: {}}))
    assert_names(line, f"{block}.methods.{name}")
    assert f"unknown key '{name}'" in line


@pytest.mark.parametrize(("block", "name", "other"), APART)
def test_methods_that_make_no_sense_together_are_one_line(tmp_path, block, name, other):
    (line,) = lines_of(tmp_path, with_methods(block, {name: {}, other: {}}))
    assert_names(line, f"{block}.methods.{name}")
    assert f"{other} and {name} ask the same of the same images; fix: name one of them" in line
    load(write_params(tmp_path, with_methods(block, {name: {}})))
    load(write_params(tmp_path, with_methods(block, {other: {}})))


def test_pseudo_labels_of_the_same_pass_go_with_any_of_them(tmp_path):
    for other in ALIKE:
        block = methods_of(tmp_path, "teacher", {other: {}, "pseudo_label": {}})
        assert set(block.names) == {other, "pseudo_label"}


def test_what_methods_exclude_is_a_method():
    assert {other for _, other in EXCLUDING} <= set(SEMI_SUPERVISED | CONTINUAL)


@pytest.mark.parametrize("value", [None, [], 3, "fast"])
def test_options_that_are_no_block_are_one_line(tmp_path, value):
    (line,) = lines_of(tmp_path, with_methods("tasks.t1", {"lwf": value}))
    assert_names(line, "tasks.t1.methods.lwf")
    assert line.endswith("fix: expected a block of keys")


def test_a_task_says_which_methods_it_learns_by_even_if_none(tmp_path):
    values = example()
    del values["tasks"]["t1"]["methods"]
    (line,) = lines_of(tmp_path, values)
    assert "'methods' is missing; fix: add it: a block of keys" in line
