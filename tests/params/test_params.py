"""params.yaml: every key broken in every way is one line that names it; all lines at once."""

import os
import re
import subprocess
import sys
import time
import typing
from collections import Counter

import pytest
from conftest import ROOT, real_values, tiny_values, write_params
from pipeline.params.names import LearnerName, MethodName, NetworkName, SourceName, TransformName

from pipeline.core.errors import UserError
from pipeline.labelling.rule import Labels
from pipeline.labelling.transforms import TRANSFORMS
from pipeline.methods import METHODS
from pipeline.networks import NETWORKS
from pipeline.params.check import load
from pipeline.sources import SOURCES
from pipeline.training.recipe import Training

# What no key of this kind may be: too small, too large, or no such choice.
OUT_OF_RANGE = {
    "seed": [-1],
    "data.source": ["digit"],
    "data.root": [""],
    "data.classes": [[], ["0"]],
    "data.labels_per_class": [0],
    "data.val": [1.0, -0.1],
    "data.test": [1.0, 1.5],
    "data.seed": [-1],
    "training.steps": [0],
    "training.batch_size": [0],
    "training.unlabelled_ratio": [0.0, 65.0],
    "training.unlabelled_weight": [-0.5],
    "training.optimizer": ["sdg"],
    "training.learning_rate": [0.0, -1.0, 11.0, float("nan"), float("inf")],
    "training.warmup_steps": [-1],
    "training.weight_decay": [-1e-3, 2.0],
    "training.clip_norm": [-1.0],
    "training.label_smoothing": [-0.1, 1.0],
    "training.dropout": [-0.1, 1.0],
    "training.stochastic_depth": [-0.1, 1.0],
    "training.ema": [-0.1, 1.0],
    "training.flip": ["sometimes"],
    "training.shift": [-1],
    "training.num_ops": [-1, 15],
    "training.magnitude": [-1, 31],
    "training.keep": ["first"],
    "training.evaluate_every": [0],
    "labels.threshold": [-0.1, 1.1],
    "labels.share": [0.0, 1.1],
    "labels.temperature": [0.0, 101.0],
    "labels.kind": ["firm"],
    "labels.balance": [0, -3, "equals"],
    "teacher.network": ["small_cn"],
    "generations.g1.network": ["wide_cn"],
    "generations.g1.teacher": ["teachr"],
    "tasks.t1.base": ["g9"],
    "tasks.t1.scenario": ["classes"],
    "tasks.t1.classes": [[], ["8", "8"]],
    "tasks.t1.labels_per_class": [0],
    "tasks.t1.methods": [["lfw"], ["lwf", "lwf"]],
    "tasks.t1.lwf.weight": [-1.0, 1001.0],
    "tasks.t1.lwf.temperature": [0.0, 101.0],
    "tasks.t1.lwf.warmup_steps": [-1],
    "final": ["g9"],
    "report.test": ["maybe"],
    "report.register": ["maybe"],
}
BLOCKS = ["data", "training", "labels", "teacher", "generations", "generations.g1"]
BLOCKS += ["baselines", "baselines.b1", "tasks", "tasks.t1", "report"]
OPTIONAL = {  # keys that the committed file need not state, with what they may not be
    "teacher.width": [0.0, 17.0],
    "data.size": [-1, 4097],
    "teacher.training.steps": [0],
    "training.batch_norm": ["together"],
    "training.image_size": [-1, 4097],
    "training.labelled_view": ["week"],
    "training.train": ["head"],
    "labels.transforms": [[], ["flop"], ["flip", "flip"]],
    "labels.align": ["aligned"],
    "generations.g1.width": [0.0, 17.0],
    "generations.g1.init": ["teachr"],
    "generations.g1.fine_tune.steps": [0],
    "generations.g1.fine_tune.learning_rate": [0.0, 11.0],
    "generations.g1.fine_tune.image_size": [-1],
    "baselines.b1.network": ["wide_cn"],
    "baselines.b1.learner": ["fixmach"],
    "baselines.b1.pseudo_label.weight": [-1.0],
    "baselines.b1.pseudo_label.threshold": [1.1],
    "baselines.b1.pseudo_label.start_step": [-1],
    "baselines.b1.pseudo_label.ramp_steps": [-1],
    "baselines.b1.uda.weight": [-1.0],
    "baselines.b1.uda.threshold": [-0.1],
    "baselines.b1.uda.temperature": [0.0],
    "baselines.b1.uda.ramp_steps": [-1],
    "baselines.b1.uda.weak_view": ["aside"],
    "baselines.b1.fixmatch.weight": [1001.0],
    "baselines.b1.fixmatch.threshold": [1.1],
    "baselines.b1.fixmatch.weak_view": ["aside"],
    **{f"generations.g1.{key}": bad for key, bad in OUT_OF_RANGE.items() if key[:8] == "training"},
    **{f"generations.g1.{key}": bad for key, bad in OUT_OF_RANGE.items() if key[:6] == "labels"},
}
LEAVES = list(OUT_OF_RANGE)


def example() -> dict:
    """The committed values, with generations of known names."""
    values = real_values()
    values["teacher"] = {"network": "small_cnn"}
    values["generations"] = {
        "g1": {"teacher": "teacher", "network": "small_cnn"},
        "g2": {"teacher": "g1", "network": "small_cnn"},
    }
    task = {"base": "g2", "scenario": "class", "classes": [8, 9], "labels_per_class": 3}
    task |= {"methods": ["lwf"], "lwf": {"weight": 1.0, "temperature": 2.0, "warmup_steps": 5}}
    values["generations"]["g1"]["fine_tune"] = {"steps": 5, "learning_rate": 0.1, "image_size": 0}
    yardstick = {"learner": "uda", "network": "small_cnn"}
    yardstick["uda"] = {"weight": 1.0, "threshold": 0.8, "temperature": 0.4, "ramp_steps": 0}
    yardstick["fixmatch"] = {"weight": 1.0, "threshold": 0.95}
    online = {"weight": 1.0, "threshold": 0.0, "start_step": 0, "ramp_steps": 5}
    yardstick["pseudo_label"] = online
    return values | {"baselines": {"b1": yardstick}, "tasks": {"t1": task}, "final": "g2"}


def block_of(values: dict, key: str) -> tuple[dict, str]:
    *blocks, last = key.split(".")
    for block in blocks:
        values = values.setdefault(block, {})
    return values, last


def lines_of(folder, values: dict) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(write_params(folder, values))
    return caught.value.lines


def lines_with(folder, key: str, value: object) -> list[str]:
    values = example()
    block, last = block_of(values, key)
    block[last] = value
    return lines_of(folder, values)


def assert_names(line: str, key: str) -> None:
    """`error: <file>:<line> (<key>): <what>; fix: <how>`; the key may be an item of a list."""
    pattern = rf"error: \S*params\.yaml(:\d+)? \({re.escape(key)}(\.\d)?\): .+; fix: .+"
    assert re.fullmatch(pattern, line), line


def test_the_committed_file_is_right():
    params = load(ROOT / "params.yaml")
    assert list(params.models())[0] == "teacher"
    assert params.final in params.models()


def test_every_key_of_the_committed_file_is_broken_below():
    def leaves(values: dict, prefix: str):
        for key, value in values.items():
            nested = isinstance(value, dict)
            yield from leaves(value, f"{prefix}{key}.") if nested else [f"{prefix}{key}"]

    real = real_values()
    models = set(leaves(real["generations"], ""))
    found = set(leaves({k: v for k, v in real.items() if k != "generations"}, ""))
    found |= {f"generations.g1.{key.split('.', 1)[1]}" for key in models}
    assert found <= {*OUT_OF_RANGE, *OPTIONAL}
    assert {f"training.{key}" for key in Training.model_fields} <= {*OUT_OF_RANGE, *OPTIONAL}
    assert {f"labels.{key}" for key in Labels.model_fields} <= {*OUT_OF_RANGE, *OPTIONAL}


@pytest.mark.parametrize("key", [*LEAVES, *BLOCKS[:4], "report"])
def test_a_dropped_key_is_missed(tmp_path, key):
    values = example()
    block, last = block_of(values, key)
    del block[last]
    (line,) = lines_of(tmp_path, values)
    assert_names(line, key)
    assert f"'{last}' is missing" in line


@pytest.mark.parametrize("key", [*LEAVES, "data", "training", "labels", "teacher", "report"])
def test_a_renamed_key_is_unknown_and_the_right_one_is_suggested(tmp_path, key):
    values = example()
    block, last = block_of(values, key)
    block[f"{last}s"] = block.pop(last)
    lines = lines_of(tmp_path, values)
    unknown = [line for line in lines if f"unknown key '{last}s'" in line]
    missing = [line for line in lines if f"'{last}' is missing" in line]
    assert len(unknown) == len(missing) == 1 and len(lines) == 2
    assert_names(unknown[0], f"{key}s")
    assert f"did you mean '{last}'?" in unknown[0]


WRONG = {
    int: ["many", 1.5, True, None, [1], {"a": 1}],
    float: ["many", True, None, [0.1], {"a": 1}],
    bool: ["yes", 1, None, [True]],
    str: [3, 0.5, True, None, ["a"], {"a": 1}],
    list: ["0, 1", 3, None, {"a": 1}, [True, False], [0.5, 1.5], ["", 0.5]],
}
# numbers that the file may write without a point
NUMBERS = ["training.clip_norm", "training.unlabelled_ratio", "training.unlabelled_weight"]


@pytest.mark.parametrize("number", range(8))
def test_values_of_the_wrong_type_are_all_told_in_a_line_each(tmp_path, number):
    values, expected = example(), Counter()
    for key in LEAVES:
        block, last = block_of(values, key)
        kinds = WRONG[float if key in NUMBERS else type(block[last])]
        wrong = kinds[number % len(kinds)]
        if (key, wrong) == ("labels.balance", 3):
            wrong = 2.5
        items = type(wrong) is type(block[last]) is list
        expected[key] = len(wrong) if items else 1
        block[last] = wrong
    found = Counter(
        re.search(r"\((.+?)(\.\d)?\): ", line)[1] for line in lines_of(tmp_path, values)
    )
    assert found == expected


@pytest.mark.parametrize(("key", "bad"), [*OUT_OF_RANGE.items(), *OPTIONAL.items()])
def test_a_value_out_of_range_is_one_line_that_names_the_key(tmp_path, key, bad):
    for value in bad:
        (line,) = lines_with(tmp_path, key, value)
        assert_names(line, key)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("value", [None, 3, "x", []])
def test_a_block_that_is_no_block_is_one_line(tmp_path, block, value):
    values = example() | {"final": "teacher"}
    values["generations"] = {"g1": values["generations"]["g1"]}
    values["tasks"]["t1"]["base"] = "teacher"
    outer, last = block_of(values, block)
    outer[last] = value
    (line,) = lines_of(tmp_path, values)
    assert_names(line, block)


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
    ],
)
def test_a_line_says_what_would_be_right(tmp_path, key, value, words):
    (line,) = lines_with(tmp_path, key, value)
    assert_names(line, key)
    assert line.endswith(words)


def test_a_value_of_no_allowed_kind_is_neither_called_out_of_range_nor_of_a_wrong_type(tmp_path):
    (line,) = lines_with(tmp_path, "labels.balance", 2.5)
    assert "2.5 is not allowed here" in line


def test_all_faults_are_told_at_once_each_with_its_line(tmp_path):
    text = (ROOT / "params.yaml").read_text()
    text = text.replace("labels_per_class: 3", "labels_per_class: 0").replace("sgd", "sdg", 1)
    text = re.sub(r"(?m)^final: .*", "final: g99", text)
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        load(tmp_path / "params.yaml")
    rows = [line.split(":")[0] for line in text.splitlines()]
    expected = {
        f"params.yaml:{rows.index(start) + 1} ({key})"
        for start, key in [
            ("  labels_per_class", "data.labels_per_class"),
            ("  optimizer", "training.optimizer"),
            ("final", "final"),
        ]
    }
    assert {line.split(": ")[1].rsplit("/", 1)[1] for line in caught.value.lines} == expected


def test_a_duplicate_key_is_refused(tmp_path):
    text = (ROOT / "params.yaml").read_text().replace("  shift:", "  steps: 3\n  shift:")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"params.yaml:\d+: 'steps' stands here a second time"):
        load(tmp_path / "params.yaml")


@pytest.mark.parametrize("written", ["1e-3", "1E-3", "0.001", "1.0e-3"])
def test_numbers_with_an_exponent_are_numbers(tmp_path, written):
    text = (ROOT / "params.yaml").read_text()
    text = re.sub(r"learning_rate: \S+", f"learning_rate: {written}", text)
    (tmp_path / "params.yaml").write_text(text)
    assert load(tmp_path / "params.yaml").training.learning_rate == 0.001


def test_a_whole_number_will_do_for_a_number(tmp_path):
    values = example()
    values["training"]["learning_rate"] = 1
    assert load(write_params(tmp_path, values)).training.learning_rate == 1.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no"),
        ("- a\n- b\n", "holds no"),
        ("seed: [1\n", "not valid YAML"),
        ("seed: \xff", None),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text, words):
    (tmp_path / "params.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=words):
        load(tmp_path / "params.yaml")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load(tmp_path / "params.yaml")


# --- the lineage ------------------------------------------------------------------------------


def with_generations(**teachers: str) -> dict:
    values = example()
    values["generations"] = {
        name: {"teacher": teacher, "network": "small_cnn"} for name, teacher in teachers.items()
    }
    return values | {"baselines": {}, "tasks": {}, "final": next(iter(teachers), "teacher")}


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


def test_a_teacher_that_does_not_exist_is_refused(tmp_path):
    (line,) = lines_of(tmp_path, with_generations(g1="teacher", g2="g11"))
    assert_names(line, "generations.g2.teacher")
    assert "no model is named 'g11'" in line and "did you mean 'g1'?" in line


def test_a_final_that_does_not_exist_is_refused_even_beside_other_faults(tmp_path):
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


def test_a_duplicate_name_is_refused(tmp_path):
    text = (ROOT / "params.yaml").read_text()
    name = re.search(r"(?m)^  (\w+): *{teacher: teacher.*$", text)
    text = text.replace(name[0], f"{name[0]}\n{name[0]}")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=f"'{name[1]}' stands here a second time"):
        load(tmp_path / "params.yaml")


def test_no_generation_at_all_is_allowed(tmp_path):
    params = load(write_params(tmp_path, with_generations()))
    assert list(params.models()) == ["teacher"]


def test_models_come_after_their_parents_whatever_the_order_of_the_file(tmp_path):
    values = with_generations(c="b", b="a", a="teacher")
    params = load(write_params(tmp_path, values))
    assert list(params.models()) == ["teacher", "a", "b", "c"]
    assert [params.parent(name) for name in params.models()] == [None, "teacher", "a", "b"]


@pytest.mark.parametrize(("val", "test"), [(0.5, 0.5), (0.9, 0.2)])
def test_val_and_test_must_leave_something_to_train_on(tmp_path, val, test):
    values = example()
    values["data"] |= {"val": val, "test": test}
    (line,) = lines_of(tmp_path, values)
    assert "leaves nothing to train on" in line


def test_a_class_named_twice_is_refused(tmp_path):
    (line,) = lines_with(tmp_path, "data.classes", [0, 1, "0"])
    assert_names(line, "data.classes")


def test_a_number_may_name_a_class(tmp_path):
    values = example()
    values["data"]["classes"] = [3, "4"]
    assert load(write_params(tmp_path, values)).data.classes == ["3", "4"]


# --- tasks ------------------------------------------------------------------------------------


def with_tasks(**specs: dict) -> dict:
    values = example()
    task = values["tasks"]["t1"]
    return values | {"tasks": {name: task | spec for name, spec in specs.items()}}


@pytest.mark.parametrize(
    ("specs", "key", "words"),
    [
        ({"t1": {"lwf": None}}, "tasks.t1", "the method 'lwf' has no options"),
        ({"t1": {"lwf": 3}}, "tasks.t1.lwf", "of the wrong type"),
        ({"t1": {"classes": [7, 8]}}, "tasks.t1.classes", "'g2' knows 7 already"),
        (
            {"t1": {}, "t2": {"base": "t1", "classes": [9]}},
            "tasks.t2.classes",
            "'t1' knows 9 already",
        ),
        (
            {"t2": {"base": "t1", "classes": [8]}, "t1": {"classes": [8, 9]}},
            "tasks.t2.classes",
            "'t1' knows 8 already",
        ),
        ({"t1": {"base": "t1"}}, "tasks.t1.base", "teaches itself (t1 -> t1)"),
        ({"g1": {}}, "tasks.g1", "the name 'g1' is taken"),
        ({"base": {}}, "tasks.base", "the name 'base' is taken"),
    ],
)
def test_a_task_at_fault_is_one_line(tmp_path, specs, key, words):
    (line,) = lines_of(tmp_path, with_tasks(**specs))
    assert_names(line, key)
    assert words in line


def test_a_task_compares_two_views_in_one_way(tmp_path):
    fixmatch = {"weight": 1.0, "threshold": 0.9}
    uda = fixmatch | {"temperature": 0.5, "ramp_steps": 0}
    spec = {"methods": ["lwf", "uda", "fixmatch"], "uda": uda, "fixmatch": fixmatch}
    (line,) = lines_of(tmp_path, with_tasks(t1=spec))
    assert_names(line, "tasks.t1.methods")
    assert "uda and fixmatch ask the same of the same two views; fix: name one" in line
    assert load(write_params(tmp_path, with_tasks(t1=spec | {"methods": ["fixmatch", "lwf"]})))


def test_a_task_cannot_teach_a_generation(tmp_path):
    values = with_tasks(t1={"base": "g1"})
    values["generations"]["g2"]["teacher"] = "t1"
    (line,) = lines_of(tmp_path, values)
    assert_names(line, "generations.g2.teacher")
    assert "'t1' is a task" in line


def test_two_tasks_may_learn_the_same_classes_on_models_that_lack_them(tmp_path):
    values = with_tasks(t1={"base": "g1"}, t2={"base": "g2"})
    assert load(write_params(tmp_path, values)).parent("t2") == "g2"


def test_a_baseline_without_the_options_of_its_learner_is_one_line(tmp_path):
    values = example()
    del values["baselines"]["b1"]["uda"]
    (line,) = lines_of(tmp_path, values)
    assert "the learner 'uda' has no options" in line
    assert "`uda: {weight, threshold, temperature, ramp_steps}`" in line


@pytest.mark.parametrize("train", ["fc", "new_head"])
def test_random_weights_that_would_stay_are_refused(tmp_path, train):
    (line,) = lines_with(tmp_path, "generations.g1.training.train", train)
    assert f"'{train}' leaves random weights of 'g1' as they are" in line
    values = example()
    values["generations"]["g1"] |= {"init": "teacher", "training": {"train": train}}
    load(write_params(tmp_path, values))


@pytest.mark.parametrize(("key", "value"), [("size", 16), ("val", 0.0), ("test", 0)])
def test_what_the_digits_lack_is_said_before_anything_runs(tmp_path, key, value):
    (line,) = lines_with(tmp_path, f"data.{key}", value)
    assert "the digits" in line


def test_a_student_begins_with_its_teachers_weights_only_if_they_fit(tmp_path):
    values = example()
    values["generations"]["g2"] |= {"init": "teacher", "network": "wide_cnn"}
    (line,) = lines_of(tmp_path, values)
    assert "'g2' is another network than its teacher 'g1'" in line
    values["generations"]["g2"]["network"] = "small_cnn"
    assert load(write_params(tmp_path, values)).generations["g2"].init == "teacher"


def test_a_task_keeps_the_resolution_of_its_base(tmp_path):
    (line,) = lines_with(tmp_path, "tasks.t1.training.image_size", 16)
    assert "a task keeps the resolution of its base 'g2'" in line


# --- Meta Pseudo Labels -----------------------------------------------------------------------


def with_pair(**spec: object) -> dict:
    """The example with a pair of `g1` and `m1` beside it."""
    return example() | {"meta_pseudo_labels": {"m1": {"teacher": "g1"} | spec}}


UDA = {"weight": 1.0, "threshold": 0.6, "temperature": 0.7, "ramp_steps": 0}
CLIPPED = {"labels": "soft", "training": {"clip_norm": 1.0}}


@pytest.mark.parametrize(
    ("spec", "key", "words"),
    [
        (CLIPPED, "labels", "not known through clip_norm 1; fix: set training.clip_norm to 0"),
        (
            {"training": {"train": "fc"}},
            "training.train",
            "'fc' leaves random weights of 'm1' as they are",
        ),
        (
            {"reduced": True, "uda": UDA},
            "uda",
            "a reduced teacher sees no images, so it has no consistency loss; fix: leave it out",
        ),
        ({"reduced": 1}, "reduced", "expected true or false"),
        ({"width": 2.0}, "width", "has the width of its teacher 'g1'; fix: add `network`"),
        (
            {"network": "torchvision/resnet18", "width": 2.0},
            "width",
            "'torchvision/resnet18' has one width; fix: set it to 1",
        ),
        ({"reduced": True, "calibrator_width": 0}, "calibrator_width", "out of range"),
    ],
)
def test_a_pair_at_fault_is_one_line(tmp_path, spec, key, words):
    (line,) = lines_of(tmp_path, with_pair(**spec))
    assert_names(line, f"meta_pseudo_labels.m1.{key}")
    assert words in line


@pytest.mark.parametrize(
    "spec",
    [
        CLIPPED | {"feedback": "none"},
        CLIPPED | {"labels": "hard"},
        {"training": {"train": "fc"}, "init": "teacher"},
        {"reduced": True, "labels": "soft", "init": "teacher"},
        {"reduced": False, "uda": UDA, "calibrator_width": 64},
    ],
    ids=str,
)
def test_a_pair_near_a_fault_is_allowed(tmp_path, spec):
    load(write_params(tmp_path, with_pair(**spec)))


@pytest.mark.parametrize("block", ["generations", "meta_pseudo_labels", "baselines", "tasks"])
def test_a_model_without_a_block_is_one_line(tmp_path, block):
    values = example()
    values[block] = dict(values.get(block, {})) | {"n1": None}
    (line,) = lines_of(tmp_path, values)
    assert_names(line, f"{block}.n1")
    assert line.endswith("None is of the wrong type; fix: expected a block of keys")


@pytest.mark.parametrize("name", [1, None, float("nan")])
def test_a_name_that_is_no_text_is_one_line(tmp_path, name):
    values = example() | {"meta_pseudo_labels": {name: {"teacher": "g1"}}}
    (line,) = lines_of(tmp_path, values)
    assert "cannot be a model's name; fix: use lower-case letters" in line


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


def with_calibrated(block: str, name: str, spec: dict) -> dict:
    """Two pairs, of which `m2-teacher` has a calibrator from `m1-teacher`, and a model more."""
    values = with_pair(reduced=True)
    values["meta_pseudo_labels"]["m2"] = {"teacher": "m1-teacher"}
    values[block][name] = spec
    return values


@pytest.mark.parametrize("parent", ["m1-teacher", "m2-teacher"])
@pytest.mark.parametrize(
    ("block", "key", "words"),
    [
        ("tasks", "base", "has a calibrator, which knows no more classes; fix: extend the student"),
        ("generations", "init", "has a calibrator, which 'n1' has not; fix: leave out `init`"),
        ("meta_pseudo_labels", "teacher", "has a calibrator already; fix: name 'g1'"),
    ],
)
def test_what_a_calibrated_teacher_cannot_do_is_one_line(tmp_path, block, key, words, parent):
    task = {"scenario": "class", "classes": [8, 9], "labels_per_class": 3, "methods": []}
    spec = {
        "tasks": task | {"base": parent},
        "generations": {"teacher": parent, "network": "small_cnn", "init": "teacher"},
        "meta_pseudo_labels": {"teacher": parent, "reduced": True},
    }[block]
    (line,) = lines_of(tmp_path, with_calibrated(block, "n1", spec))
    assert_names(line, f"{block}.n1.{key}")
    assert f"'{parent}' {words}" in line


def test_a_calibrated_teacher_may_teach_and_its_student_be_extended(tmp_path):
    spec = {"teacher": "m2-teacher", "network": "small_cnn"}
    values = with_calibrated("generations", "n1", spec)
    values["tasks"]["t1"]["base"] = "m1"
    params = load(write_params(tmp_path, values))
    calibrated = [name for name in params.models() if params.calibrated(name)]
    assert calibrated == ["m1-teacher", "m2-teacher"]


# --- objects ----------------------------------------------------------------------------------


def test_an_override_changes_its_keys_alone(tmp_path):
    values = example()
    values["generations"]["g2"] |= {"training": {"steps": 7}, "labels": {"kind": "hard"}}
    params = load(write_params(tmp_path, values))
    assert params.training_of("g2") == params.training.model_copy(update={"steps": 7})
    assert params.labels_of("g2") == params.labels.model_copy(update={"kind": "hard"})
    assert params.training_of("g1") == params.training_of("teacher") == params.training
    assert params.labels_of("g1") == params.labels


def test_params_are_frozen(tiny):
    with pytest.raises(ValueError, match="frozen"):
        tiny.training.steps = 3


@pytest.mark.parametrize(
    ("literal", "names"),
    [
        (NetworkName, NETWORKS),
        (SourceName, SOURCES),
        (MethodName, METHODS),
        (TransformName, TRANSFORMS),
        (LearnerName, ["supervised", *(n for n, m in METHODS.items() if m.streams)]),
    ],
)
def test_the_names_that_params_allow_are_those_that_exist(literal, names):
    assert list(typing.get_args(literal)) == list(names)


def test_torchvisions_networks_have_one_width_and_the_others_any(tmp_path):
    values = example()
    values["teacher"] |= {"network": "torchvision/resnet18", "width": 1}
    values["generations"]["g1"] |= {"network": "torchvision/vgg16_bn", "width": 0.5}
    (line,) = lines_of(tmp_path, values)
    assert_names(line, "generations.g1.width")
    assert "'torchvision/vgg16_bn' has one width; fix: set it to 1" in line


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("torchvision/resnet81", "did you mean 'torchvision/resnet18'?"),
        ("resnet18", "did you mean 'torchvision/resnet18'?"),
    ],
)
def test_a_mistyped_network_of_torchvision_is_suggested(tmp_path, network, words):
    (line,) = lines_with(tmp_path, "teacher.network", network)
    assert line.endswith(words)


# --- the command ------------------------------------------------------------------------------


def check_command(folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pipeline", "check"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_check_tells_every_fault_quickly_and_writes_nothing(tmp_path):
    values = tiny_values() | {"seed": -1, "finall": "g2"}
    values["training"]["stps"] = 3
    write_params(tmp_path, values)
    began = time.monotonic()
    done = check_command(tmp_path)
    assert time.monotonic() - began < 10
    assert done.returncode == 2 and done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 3 and all(line.startswith("error: params.yaml:") for line in lines)
    assert [p.name for p in tmp_path.iterdir()] == ["params.yaml"]


def test_reading_the_params_imports_no_torch(project):
    code = "import sys; from pipeline.params import load; load(); print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    modules = set(done.stdout.split())
    assert "pipeline.params" in modules and not {"torch", "torchvision"} & modules


def test_check_shows_the_chain(project):
    done = check_command(project)
    assert done.returncode == 0
    assert done.stdout == "params.yaml is right: teacher -> g1 -> g2 -> t1\n"


def test_stochastic_depth_needs_residual_blocks(tmp_path):
    values = real_values()
    values["training"]["stochastic_depth"] = 0.2
    values["generations"]["g1"] |= {"network": "torchvision/resnet18"}
    values["generations"]["g2"] |= {"training": {"stochastic_depth": 0.0}}
    with pytest.raises(UserError) as caught:
        load(write_params(tmp_path, values))
    assert [("teacher.network" in line, "g3.network" in line) for line in caught.value.lines] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    assert "tasks.t1.network" in caught.value.lines[2]
