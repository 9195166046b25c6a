"""Params with one thing wrong, and what a user reads then."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import real_values, write_params
from pydantic.fields import FieldInfo

from pipeline.core.block import Block
from pipeline.core.errors import UserError
from pipeline.params.check import load
from pipeline.params.schema import Params
from pipeline.params.words import block_in

# A model of each block of `example`.
NAMES = {
    "generations": "g1",
    "meta_pseudo_labels": "m1",
    "baselines": "b1",
    "ensembles": "e1",
    "distilled": "d1",
    "tasks": "t1",
    "specialists": "s1",
}


def example() -> dict:
    """The committed values, with a model of known name in each block."""
    values = real_values()
    values["training"]["steps"] = 400
    values["teacher"] = {"network": "small_cnn"}
    values["teacher"]["pretrained"] = {"file": "weights.pth", "sha256": 64 * "0"}
    values["teacher"]["fine_tune"] = {"steps": 5, "learning_rate": 0.1, "image_size": 0}
    generations = {
        "g1": {"teacher": "teacher", "network": "small_cnn"},
        "g2": {"teacher": "g1", "network": "small_cnn"},
    }
    baseline = {"network": "small_cnn", "methods": {"uda": {"threshold": 0.5}}}
    task = {"base": "g2", "scenario": "class", "classes": [8, 9], "labels_per_class": 3}
    task["data"] = {"root": values["data"]["root"]}
    task |= {"methods": {"lwf": {"temperature": 3.0}}}
    values |= {"generations": generations, "baselines": {"b1": baseline}, "tasks": {"t1": task}}
    values["ensembles"] = {"e1": {"first": "g1", "second": "b1"}}
    values["specialists"] = {"s1": {"teacher": "g2"}}
    student = {"teacher": "g2", "network": "small_cnn", "width": 0.5, "methods": {"kd": {}}}
    values["distilled"] = {"d1": student}
    return values | {"meta_pseudo_labels": {"m1": {"teacher": "g1"}}, "final": "g2"}


def with_generations(**teachers: str) -> dict:
    """The example with generations alone: `g2="g1"` is taught by g1."""
    values = example() | {"baselines": {}, "tasks": {}, "meta_pseudo_labels": {}}
    values |= {"ensembles": {}, "specialists": {}, "distilled": {}}
    values["generations"] = {
        name: {"teacher": teacher, "network": "small_cnn"} for name, teacher in teachers.items()
    }
    return values | {"final": next(iter(teachers), "teacher")}


def with_tasks(**specs: dict) -> dict:
    """The example with tasks that differ from its own by some keys."""
    values = example()
    task = values["tasks"]["t1"]
    return values | {"tasks": {name: task | spec for name, spec in specs.items()}}


def with_pair(**spec: object) -> dict:
    """The example with some keys in the block of its pair."""
    return example() | {"meta_pseudo_labels": {"m1": {"teacher": "g1"} | spec}}


def block_of(values: dict, key: str) -> tuple[dict, str]:
    """The block that a dotted key stands in, made if it is not there, and the key's last part."""
    *blocks, last = key.split(".")
    for block in blocks:
        values = values.setdefault(block, {})
    return values, last


def set_key(values: dict, key: str, value: object) -> dict:
    """`values`, with a dotted key set in place."""
    block, last = block_of(values, key)
    block[last] = value
    return values


def lines_of(folder: Path, values: dict) -> list[str]:
    """The lines for a file of these values, which is at fault."""
    with pytest.raises(UserError) as caught:
        load(write_params(folder, values))
    return caught.value.lines


def lines_with(folder: Path, key: str, value: object) -> list[str]:
    """The lines for the example with another value."""
    return lines_of(folder, set_key(example(), key, value))


def assert_names(line: str, key: str) -> None:
    """`error: <file>:<line> (<key>): <what>; fix: <how>`; the key may be an item of a list."""
    pattern = rf"error: \S*params\.yaml(:\d+)? \({re.escape(key)}(\.\d)?\): .+; fix: .+"
    assert re.fullmatch(pattern, line), line


def leaves(block: type[Block] = Params, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key of the schema that holds no further block, dotted, with its field; of each block of
    models the one of `NAMES`."""
    for key, field in block.by_key().items():
        inner = block_in(field.annotation)
        if inner is None:
            yield f"{prefix}{key}", field
        else:
            name = f"{NAMES[key]}." if key in NAMES and not prefix else ""
            yield from leaves(inner, f"{prefix}{key}.{name}")
