"""What a line says would be right, in the words of the code that obeys the key."""

import re

import pytest
from faults import assert_names, example, lines_of, lines_with

from pipeline.labelling.transforms import TRANSFORMS
from pipeline.methods.continual import CONTINUAL
from pipeline.methods.semi_supervised import SEMI_SUPERVISED
from pipeline.networks import NETWORKS
from pipeline.sources import SOURCES
from pipeline.training.recipe import OPTIMIZERS


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("data.val", 1.5, "expected a number, at least 0, less than 1"),
        ("training.steps", 0, "expected a whole number, at least 1"),
        ("training.flip", 3, "expected true or false"),
        (
            "labels.balance",
            0,
            "expected equal, none or a whole number of at least 1, at most a million",
        ),
        ("training.optimizer", "adam", "did you mean 'adamw'?"),
        ("generations.g1.training.dropout", 2.0, "expected a number, at least 0, less than 1"),
        ("generations.g1.teacher", "techer", "did you mean 'teacher'?"),
        ("generations.g1.netwrk", "small_cnn", "did you mean 'network'?"),
        ("generations.g1.training.step", 3, "did you mean 'steps'?"),
        ("data.roots", "x", "did you mean 'root'?"),
        ("teacher.network", "torchvision/resnet81", "did you mean 'torchvision/resnet18'?"),
        ("teacher.network", "resnet18", "did you mean 'torchvision/resnet18'?"),
    ],
)
def test_a_line_says_what_would_be_right(tmp_path, key, value, words):
    (line,) = lines_with(tmp_path, key, value)
    assert_names(line, key)
    assert line.endswith(words)


def test_a_value_of_no_allowed_kind_is_neither_called_out_of_range_nor_of_a_wrong_type(tmp_path):
    (line,) = lines_with(tmp_path, "labels.balance", 2.5)
    assert "2.5 is not allowed here" in line


METHODS = CONTINUAL | SEMI_SUPERVISED


@pytest.mark.parametrize(
    ("key", "value", "names"),
    [
        ("teacher.network", "####", NETWORKS),
        ("meta_pseudo_labels.m1.network", "####", NETWORKS),
        ("data.source", "####", SOURCES),
        ("labels.transforms", ["####"], TRANSFORMS),
        ("training.optimizer", "####", OPTIMIZERS),
        ("teacher.methods.####", {}, SEMI_SUPERVISED),
        ("generations.g1.methods.####", {}, SEMI_SUPERVISED),
        ("baselines.b1.methods.####", {}, SEMI_SUPERVISED),
        ("tasks.t1.methods.####", {}, METHODS),
    ],
)
def test_the_choices_are_the_names_of_the_code(tmp_path, key, value, names):
    (line,) = lines_with(tmp_path, key, value)
    assert line.endswith(f"fix: use one of: {', '.join(sorted(names))}")


@pytest.mark.parametrize("name", METHODS)
def test_the_options_of_a_method_are_its_own(tmp_path, name):
    (line,) = lines_with(tmp_path, f"tasks.t1.methods.{name}", {"####": 1})
    assert_names(line, f"tasks.t1.methods.{name}.####")
    options = METHODS[name].Options.by_key()
    assert line.endswith(f"fix: use one of: {', '.join(sorted(options))}")


def test_a_network_without_residual_blocks_is_answered_by_the_names_of_those_that_have(tmp_path):
    values = example()
    values["teacher"] |= {"training": {"stochastic_depth": 0.2}}
    (line,) = lines_of(tmp_path, values)
    offered = re.search(r"use one of (.*)", line)[1].split(", ")
    begins = tuple(name.removesuffix("...") for name in offered)
    assert all(name.startswith(begins) == NETWORKS[name].residual for name in NETWORKS)
