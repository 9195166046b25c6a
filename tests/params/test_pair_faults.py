"""A pair of Meta Pseudo Labels: what it cannot do, and options that would do nothing."""

import pytest
from conftest import write_params
from faults import assert_names, example, lines_of, with_pair

from pipeline.params.check import load

CLIPPED = {"labels": "soft", "training": {"clip_norm": 1.0}}
ADAMW = {"training": {"optimizer": "adamw"}}


@pytest.mark.parametrize(
    ("spec", "key", "words"),
    [
        (CLIPPED, "labels", "not known through clip_norm 1; fix: set training.clip_norm to 0"),
        (
            ADAMW | {"labels": "soft"},
            "feedback",
            "'adamw' has no such feedback: it is known for sgd; fix: use feedback: loss_difference",
        ),
        (ADAMW | {"feedback": "inner_product"}, "feedback", "'adamw' has no such feedback"),
        (
            {"reduced": True, "uda": {"threshold": 0.5}},
            "uda",
            "a reduced teacher sees no images, so it has no consistency loss; fix: leave it out",
        ),
        ({"reduced": True, "uda": {}}, "uda", "a reduced teacher sees no images"),
        (
            {"uda": {"mixup": 0.75}},
            "uda.mixup",
            "the teacher would label mixtures of the images that its student learns from",
        ),
        ({"reduced": 1}, "reduced", "expected true or false"),
        ({"width": 2.0}, "width", "has the width of its teacher 'g1'; fix: add `network`"),
        (
            {"network": "torchvision/resnet18", "width": 2.0},
            "width",
            "'torchvision/resnet18' has one width; fix: set it to 1",
        ),
        ({"reduced": True, "calibrator_width": 0}, "calibrator_width", "out of range"),
        ({"student_wait": 400}, "student_wait", "the student would wait for all 400 steps"),
        (
            {"student_wait": 60, "training": {"steps": 60}},
            "student_wait",
            "the student would wait for all 60 steps; fix: lower it",
        ),
    ],
)
def test_a_pair_at_fault_is_one_line(tmp_path, spec, key, words):
    (line,) = lines_of(tmp_path, with_pair(**spec))
    assert_names(line, f"meta_pseudo_labels.m1.{key}")
    assert words in line


@pytest.mark.parametrize("feedback", ["loss_difference", "inner_product"])
def test_soft_labels_with_a_measure_of_feedback_are_refused(tmp_path, feedback):
    (line,) = lines_of(tmp_path, with_pair(labels="soft", feedback=feedback))
    assert_names(line, "meta_pseudo_labels.m1.feedback")
    assert f"soft labels correct the teacher by their gradient, not by {feedback}" in line


IDLE = {
    "scale": [{"labels": "soft"}, {"feedback": "none"}, {"labels": "soft", "feedback": "none"}],
    "baseline_decay": [{"labels": "soft"}, {"feedback": "none"}],
    "calibrator_width": [{}, {"reduced": False}],
}
VALUES = {"scale": "mean", "baseline_decay": 0.9, "calibrator_width": 128}  # those left out


@pytest.mark.parametrize(("key", "spec"), [(key, spec) for key in IDLE for spec in IDLE[key]])
def test_an_option_that_does_nothing_is_refused_even_with_the_value_it_has_anyway(
    tmp_path, key, spec
):
    load(write_params(tmp_path, with_pair(**spec)))
    (line,) = lines_of(tmp_path, with_pair(**spec, **{key: VALUES[key]}))
    assert_names(line, f"meta_pseudo_labels.m1.{key}")
    assert f"{VALUES[key]} does nothing in this pair; fix: leave it out" in line


@pytest.mark.parametrize(
    "spec",
    [
        CLIPPED | {"feedback": "none"},
        CLIPPED | {"labels": "hard"},
        ADAMW,
        ADAMW | {"feedback": "none", "labels": "soft"},
        {"training": {"train": "fc"}, "init": "teacher"},
        {"reduced": True, "labels": "soft", "init": "teacher"},
        {"reduced": True, "calibrator_width": 64},
        {"reduced": False, "uda": {"threshold": 0.5}},
        {"scale": "sum", "baseline_decay": 0.5, "feedback": "inner_product"},
        {"student_wait": 399},
    ],
    ids=str,
)
def test_a_pair_near_a_fault_is_allowed(tmp_path, spec):
    load(write_params(tmp_path, with_pair(**spec)))


def test_each_pair_has_its_own_lines(tmp_path):
    values = example()
    values["meta_pseudo_labels"] = {
        name: {"teacher": "g1", "labels": "soft", "scale": "sum"} for name in ("m1", "m2")
    }
    for line, name in zip(lines_of(tmp_path, values), ("m1", "m2"), strict=True):
        assert_names(line, f"meta_pseudo_labels.{name}.scale")
