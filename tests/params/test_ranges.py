"""Every key of the schema with a value that it may not have: one line each that names the key."""

import math
import re
import typing
from collections import Counter

import pytest
from faults import (
    NAMES,
    assert_names,
    block_of,
    example,
    leaves,
    lines_of,
    set_key,
)

# What a key may not be: too small, too large, of another form, or no such choice. Keys that stand
# in several places have one entry, under their shortest name.
OUT_OF_RANGE = {
    "seed": [-1],
    "data.source": ["digit"],
    "data.root": [""],
    "data.unlabelled": [[""], "crowd"],
    "data.manifest": [[""], "labels.csv"],
    "data.size": [-1, 4097],
    "data.classes": [[], ["0"]],
    "data.labels_per_class": [0, "al"],
    "data.val": [1.0, -0.1],
    "data.test": [1.0, 1.5],
    "data.fold": [-1],
    "data.on_bad_image": ["leave"],
    "data.on_duplicate": ["leave"],
    "data.seed": [-1],
    "training.steps": [0],
    "training.batch_size": [0],
    "training.unlabelled_ratio": [0.0, 65.0],
    "training.unlabelled_weight": [-0.5],
    "training.optimizer": ["sdg"],
    "training.learning_rate": [0.0, -1.0, 11.0, math.nan, math.inf],
    "training.warmup_steps": [-1],
    "training.weight_decay": [-1e-3, 2.0],
    "training.clip_norm": [-1.0],
    "training.label_smoothing": [-0.1, 1.0],
    "training.dropout": [-0.1, 1.0],
    "training.stochastic_depth": [-0.1, 1.0],
    "training.ema": [-0.1, 1.0],
    "training.batch_norm": ["together"],
    "training.image_size": [-1, 4097],
    "training.labelled_view": ["week"],
    "training.flip": ["sometimes"],
    "training.shift": [-1],
    "training.num_ops": [-1, 15],
    "training.magnitude": [-1, 31],
    "training.magnitude_std": [-0.1, 31.0],
    "training.cutout": [-0.1, 1.1],
    "training.keep": ["first"],
    "training.evaluate_every": [0],
    "training.train": ["head"],
    "training.features": ["frosen"],
    "labels.transforms": [[], ["flop"]],
    "labels.ood_filter": ["enrgy"],
    "labels.ood_keep": [0.0, 1.1],
    "labels.threshold": [-0.1, 1.1],
    "labels.align": ["aligned"],
    "labels.share": [0.0, 1.1],
    "labels.temperature": [0.0, 101.0],
    "labels.kind": ["firm"],
    "labels.balance": [0, -3, "equals", 1_000_001],
    "network": ["small_cn"],
    "width": [0.0, 17.0],
    "pretrained.weights": [""],
    "pretrained.file": [""],
    "pretrained.sha256": ["", "0" * 63, "G" * 64],
    "from.folder": [""],
    "from.sha256": ["", "0" * 63],
    "fine_tune.steps": [0],
    "fine_tune.learning_rate": [0.0, 11.0],
    "fine_tune.image_size": [-1, 4097],
    "teacher": ["teachr"],
    "init": ["teachr"],
    "methods.pseudo_label.weight": [-1.0, 1001.0],
    "methods.pseudo_label.threshold": [-0.1, 1.1],
    "methods.pseudo_label.start_step": [-1],
    "methods.pseudo_label.ramp_steps": [-1],
    "methods.uda.weight": [-1.0, 1001.0],
    "methods.uda.threshold": [-0.1, 1.1],
    "methods.uda.temperature": [0.0, 101.0],
    "methods.uda.ramp_steps": [-1],
    "methods.uda.weak_view": ["aside"],
    "methods.uda.confidence": ["sharp"],
    "methods.fixmatch.weight": [-1.0, 1001.0],
    "methods.fixmatch.threshold": [-0.1, 1.1],
    "methods.fixmatch.weak_view": ["aside"],
    "methods.uda.align": ["even"],
    "methods.uda.align_momentum": [-0.1, 1.0],
    "methods.uda.mixup": [-0.1, 10.1],
    "methods.fixmatch.align": ["even"],
    "methods.fixmatch.align_momentum": [-0.1, 1.0],
    "methods.fixmatch.mixup": [-0.1, 10.1],
    "methods.flexmatch.weight": [-1.0, 1001.0],
    "methods.flexmatch.threshold": [-0.1, 1.1],
    "methods.flexmatch.weak_view": ["aside"],
    "methods.flexmatch.align": ["even"],
    "methods.flexmatch.align_momentum": [-0.1, 1.0],
    "methods.flexmatch.mixup": [-0.1, 10.1],
    "methods.freematch.weight": [-1.0, 1001.0],
    "methods.freematch.weak_view": ["aside"],
    "methods.freematch.momentum": [-0.1, 1.0],
    "methods.freematch.fairness": [-0.1, 101.0],
    "methods.freematch.align": ["even"],
    "methods.freematch.align_momentum": [-0.1, 1.0],
    "methods.freematch.mixup": [-0.1, 10.1],
    "methods.softmatch.weight": [-1.0, 1001.0],
    "methods.softmatch.weak_view": ["aside"],
    "methods.softmatch.momentum": [-0.1, 1.0],
    "methods.softmatch.narrowing": [0.0, 1001.0],
    "methods.softmatch.align": ["even"],
    "methods.softmatch.align_momentum": [-0.1, 1.0],
    "methods.softmatch.mixup": [-0.1, 10.1],
    "methods.mean_teacher.weight": [-1.0, 1001.0],
    "methods.mean_teacher.ramp": [-0.1, 1.1],
    "methods.mean_teacher.ema": [-0.1, 1.0],
    "methods.mean_teacher.ema_after": [-0.1, 1.0],
    "first": ["teachr"],
    "second": ["teachr"],
    "mean": ["median"],
    "weights": ["same"],
    "images": ["none"],
    "num": [1, 1001],
    "subsets": [[[]], [["0", "0"]], [[]]],
    "active": [0, 1001],
    "soft": [-0.1, 1.1],
    "methods.kd.alpha": [-0.1, 1.1],
    "methods.kd.temperature": [0.0, 1001.0],
    "methods.kd.end": [-0.1, 1.1],
    "methods.decoupled.alpha": [-0.1, 1001.0],
    "methods.decoupled.beta": [-0.1, 1001.0],
    "methods.decoupled.temperature": [0.0, 1001.0],
    "methods.decoupled.ramp_steps": [-1],
    "methods.logits.weight": [-0.1, 1001.0],
    "methods.hints.weight": [-0.1, 1e7],
    "methods.hints.alone_steps": [-1],
    "methods.attention.weight": [-0.1, 1e7],
    "methods.similarity.weight": [-0.1, 1e7],
    "methods.relational.distance": [-0.1, 1e7],
    "methods.relational.angle": [-0.1, 1e7],
    "methods.structured.pixel": [-0.1, 1e7],
    "methods.structured.pair": [-0.1, 1e7],
    "methods.structured.patch": [0, 65],
    "methods.structured.holistic": [-0.1, 1001.0],
    "methods.structured.teacher_layers": [[""]],
    "methods.structured.student_layers": [[""]],
    "methods.hints.teacher_layers": [[""]],
    "methods.hints.student_layers": [[""]],
    "methods.attention.teacher_layers": [[""]],
    "methods.attention.student_layers": [[""]],
    "methods.similarity.teacher_layers": [[""]],
    "methods.similarity.student_layers": [[""]],
    "transforms": [["turn"], ["flip", "flip"], []],
    "generalist": ["maybe"],
    "report.keeps": [0.0, 1.1],
    "methods.lwf.weight": [-1.0, 1001.0],
    "methods.lwf.temperature": [0.0, 101.0],
    "methods.lwf.warmup_steps": [-1],
    "methods.lwf.record": ["once"],
    "methods.flexmatch.warm_up": ["slow"],
    "methods.lwf.balance": ["tasks"],
    "methods.lfl.weight": [-0.1, 1001.0],
    "methods.lwm.weight": [-0.1, 1001.0],
    "methods.piggyback.start": [0.0, 1.1],
    "methods.piggyback.threshold": [-0.1, 1.0],
    "methods.piggyback.rate": [0.0, 1e7],
    "methods.l2_sp.weight": [-0.1, 1001.0],
    "methods.ewc.weight": [-1.0, 1e7],
    "methods.ewc.fisher": ["exact"],
    "methods.ewc.tasks": ["together"],
    "methods.ewc.gamma": [-0.1, 1.1],
    "methods.ewc.limit": [-0.1, 101.0],
    "methods.ewc.images": [-1],
    "methods.mas.weight": [-1.0, 1001.0],
    "methods.mas.variant": ["globally"],
    "methods.mas.limit": [-0.1, 101.0],
    "methods.mas.images": [-1],
    "methods.bic.share": [0.0, 1.0],
    "methods.bic.l2": [-0.1, 1001.0],
    "methods.bic.steps": [0],
    "methods.replay.weight": [-0.1, 1001.0],
    "methods.replay.memory": [0],
    "methods.replay.choose": ["herd"],
    "methods.replay.unlabelled": ["perhaps"],
    "methods.replay.ratio": [0.0, 65.0],
    "methods.generative_replay.labels": ["hard"],
    "methods.generative_replay.importance": [-0.1, 1.0],
    "methods.generative_replay.steps": [0],
    "methods.generative_replay.batch_size": [1],
    "methods.generative_replay.learning_rate": [0.0, 1.1],
    "methods.generative_replay.latent": [0, 4097],
    "methods.generative_replay.width": [0, 4097],
    "feedback": ["loss"],
    "labels": ["firm"],
    "scale": ["total"],
    "baseline_decay": [-0.1, 1.1],
    "student_wait": [-1],
    "teacher_learning_rate": [0.0, 11.0],
    "reduced": ["perhaps"],
    "calibrator_width": [0, 65_537],
    "base": ["g9"],
    "scenario": ["classes"],
    "classes": [[]],
    "labels_per_class": [0],
    "ce_over": ["old"],
    "old_heads": ["fixed"],
    "joint": ["perhaps"],
    "label_with": ["g1"],
    "final": ["g9"],
    "report.test": ["maybe"],
    "report.register": ["maybe"],
}
LEAVES = dict(leaves())


def shortest(key: str) -> str:
    """The name of a key in the table: without its model, consistency of a pair as a method."""
    for block, name in NAMES.items():
        key = key.removeprefix(f"{block}.{name}.")
    return re.sub("^uda[.]", "methods.uda.", key.removeprefix("teacher."))


def test_the_table_has_every_key_of_the_schema_and_no_other():
    assert {shortest(key) for key in LEAVES} == set(OUT_OF_RANGE)


@pytest.mark.parametrize("key", {shortest(key): key for key in reversed(LEAVES)}.values())
def test_a_value_out_of_range_is_one_line_that_names_the_key(tmp_path, key):
    for value in OUT_OF_RANGE[shortest(key)]:
        values = example()
        if ".from." in key:  # whose other key is required
            set_key(values, key.rpartition(".")[0], {"folder": "mine", "sha256": 64 * "0"})
        (line,) = lines_of(tmp_path, set_key(values, key, value))
        assert_names(line, key)


@pytest.mark.parametrize("number", range(2))
def test_all_of_them_at_once_are_as_many_lines(tmp_path, number):
    bad = {key: OUT_OF_RANGE[shortest(key)][-number] for key in LEAVES}
    assert named(tmp_path, bad) == Counter(dict.fromkeys(LEAVES, 1))


# --- another type -----------------------------------------------------------------------------

WRONG = {
    int: ["many", 1.5, True, None, [1], {"a": 1}],
    float: ["many", True, None, [0.1], {"a": 1}],
    bool: ["yes", 1, None, [True]],
    str: [3, 0.5, True, None, ["a"], {"a": 1}],
    list: ["0, 1", 3, None, {"a": 1}, [True, False], [0.5, 1.5], ["", 0.5]],
    "choice": ["many", 2.5, True, ["a"], {"a": 1}],  # and None, where a key has no default of it
}


def kind_of(field) -> object:
    if field.annotation in WRONG:
        return field.annotation
    return typing.get_origin(field.annotation) if "list" in str(field.annotation) else "choice"


def named(folder, bad: dict[str, object]) -> Counter:
    """How many lines name each key when the example has these values."""
    values = example()
    for key, value in bad.items():
        set_key(values, key, value)
    lines = lines_of(folder, values)
    return Counter(re.search(r"\((.+?)(\.\d)?\): ", line)[1] for line in lines)


@pytest.mark.parametrize("number", range(7))
def test_values_of_the_wrong_type_are_all_reported_in_a_line_each(tmp_path, number):
    bad = {}
    for key, field in LEAVES.items():
        kinds = WRONG[kind_of(field)]
        bad[key] = kinds[number % len(kinds)]
    expected = {
        key: len(value) if isinstance(value, list) and kind_of(LEAVES[key]) is list else 1
        for key, value in bad.items()
    }
    assert named(tmp_path, bad) == Counter(expected)


BLOCKS = ["data", "training", "labels", "teacher", "report", *NAMES]
BLOCKS += [f"{block}.{name}" for block, name in NAMES.items()]
BLOCKS += ["teacher.methods", "teacher.methods.uda", "generations.g1.labels", "tasks.t1.training"]
BLOCKS += ["tasks.t1.labels", "tasks.t1.data"]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("value", [None, 3, "x", []])
def test_a_block_that_is_no_block_is_one_line(tmp_path, block, value):
    values = example() | {"final": "teacher"}
    values["generations"] = {"g1": values["generations"]["g1"]}
    values["tasks"]["t1"]["base"] = values["meta_pseudo_labels"]["m1"]["teacher"] = "teacher"
    values["distilled"]["d1"]["teacher"] = values["ensembles"]["e1"]["first"] = "teacher"
    values["ensembles"]["e1"]["second"] = "g1"
    if not block.startswith("ensembles"):  # else one of two models is in the block
        values["ensembles"] = {}
    values["specialists"]["s1"]["teacher"] = "teacher"
    (line,) = lines_of(tmp_path, set_key(values, block, value))
    assert_names(line, block)
    assert line.endswith("expected a block of keys")


# --- dropped and renamed ----------------------------------------------------------------------


def stated() -> list[str]:
    """The keys that the example states."""

    def inside(key: str) -> bool:
        block, last = block_of(example(), key)
        return last in block

    return [key for key in LEAVES if inside(key)]


SHARED = ["data", "training", "labels", "teacher", "report"]


def required(key: str) -> bool:
    return key in SHARED or LEAVES[key].is_required()


@pytest.mark.parametrize("key", [*filter(required, stated()), *SHARED])
def test_a_dropped_key_is_missed(tmp_path, key):
    values = example()
    block, last = block_of(values, key)
    del block[last]
    (line,) = lines_of(tmp_path, values)
    assert_names(line, key)
    assert f"'{last}' is missing" in line


@pytest.mark.parametrize("key", [*stated(), *SHARED])
def test_a_renamed_key_is_unknown_and_the_right_one_is_suggested(tmp_path, key):
    values = example()
    block, last = block_of(values, key)
    block[f"{last}s"] = block.pop(last)
    lines = lines_of(tmp_path, values)
    unknown = [line for line in lines if f"unknown key '{last}s'" in line]
    missing = [line for line in lines if f"'{last}' is missing" in line]
    assert len(unknown) == 1 and len(missing) == required(key) and len(lines) == 1 + len(missing)
    assert_names(unknown[0], f"{key}s")
    assert f"did you mean '{last}'?" in unknown[0]
