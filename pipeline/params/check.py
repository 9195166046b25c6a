"""The whole params.yaml checked in one pass: every fault a line, with what would be right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipeline.core.block import Block, Fault
from pipeline.core.errors import UserError, nearest
from pipeline.core.yaml_file import Source, read
from pipeline.params.lineage import lineage_faults
from pipeline.params.old_forms import old_forms
from pipeline.params.schema import Params
from pipeline.params.words import expected, schema_at, wrong

UNION_BRANCH = re.compile(r"[\[\](]|^(constrained-)?(int|str|float)$")  # pydantic's own words
Place = tuple[str, ...]


def load(path: Path | str = "params.yaml") -> Params:
    """Read and check a params file.

    Raises:
        UserError: one line for every fault in the file.
    """
    source = read(path)
    old = old_forms(source)
    errors = list(dict.fromkeys(old.values()))
    params = None
    try:
        params = Params.model_validate(source.values)
    except ValidationError as error:
        errors += [_readable(source, fault) for fault in _one_per_place(error, set(old))]
    errors += lineage_faults(source) + _own_faults(source)
    if params and not errors:  # these follow the chain, which must be whole
        errors += _conflicts(source, params)
    if errors:
        raise UserError.all(errors)
    return params


def _one_per_place(error: ValidationError, but: set[Place]) -> list[dict]:
    """A union reports every branch that failed; one line for the key is enough."""
    seen: dict[tuple, dict] = {}
    for fault in error.errors():
        if fault["loc"][-1] == "[key]":
            continue  # a model's name: see `lineage_faults`
        place = tuple(part for part in fault["loc"] if not UNION_BRANCH.search(str(part)))
        if any(place[: len(known)] == known for known in but):
            continue  # said already
        kind = "union" if place in seen else fault["type"]
        seen[place] = {**fault, "loc": place, "type": kind}
    return list(seen.values())


def _readable(source: Source, fault: dict) -> UserError:
    loc, kind, given = fault["loc"], fault["type"], fault["input"]
    where = source.where(loc)
    block, field = schema_at(loc)
    if kind == "extra_forbidden":
        names = block.by_key() if block else ()
        return UserError(where, f"unknown key '{loc[-1]}'", nearest(loc[-1], names))
    if kind == "missing":
        return UserError(where, f"'{loc[-1]}' is missing", f"add it: {expected(field)}")
    if kind == "literal_error":
        names = re.findall(r"'([^']*)'", fault["ctx"]["expected"])
        return UserError(where, f"{given!r} is no such choice", nearest(given, names))
    what = f"{given!r} is {wrong(kind)}"
    entry = block is not None and field is None  # of a dict of models
    return UserError(where, what, f"expected {'a block of keys' if entry else expected(field)}")


def _own_faults(source: Source) -> list[UserError]:
    """Of each block that is valid by itself, so that a fault elsewhere does not hide these."""
    return [
        _error(source, place, fault)
        for place, block in _valid_blocks(source)
        for fault in block.faults()
    ]


def _error(source: Source, place: Place, fault: Fault) -> UserError:
    return UserError(source.where((*place, *fault.key.split("."))), fault.what, fault.fix)


def _valid_blocks(source: Source) -> Iterator[tuple[Place, Block]]:
    for key, field in Params.by_key().items():
        value = source.values.get(key)
        named = str(field.annotation).startswith("dict")
        kind = field.annotation.__args__[1] if named else field.annotation
        items = value.items() if named and isinstance(value, dict) else [(None, value)]
        for name, item in items:
            block = _validated(kind, item)
            if isinstance(block, Block):
                yield from _nested((key,) if name is None else (key, name), block)


def _validated(kind: Any, value: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError:
        return None


def _nested(place: Place, block: Block) -> Iterator[tuple[Place, Block]]:
    yield place, block
    for key in block.by_key():
        value = getattr(block, key, None)
        if isinstance(value, Block):
            yield from _nested((*place, key), value)


def _conflicts(source: Source, params: Params) -> list[UserError]:
    """Of each model where it stands, and of the recipes that it resolves to."""
    errors = []
    for name, place in params.places().items():
        config = params.config(name)
        if place[-1] != name and len(place) > 1:
            continue  # what a teacher becomes has the recipe of its student
        errors += [_error(source, place, fault) for fault in config.options.conflicts(config)]
        errors += _recipe_faults(source, params, place, "training", config.training)
        if place[0] == "generations":
            errors += _recipe_faults(source, params, place, "labels", params.labels_of(name))
    return errors


def _recipe_faults(
    source: Source, params: Params, place: Place, key: str, resolved: Block
) -> list[UserError]:
    """Of a shared block with a model's own keys; what the shared block has alone was said."""
    shared = list(getattr(params, key).faults())
    faults = [fault for fault in resolved.faults() if fault not in shared]
    return [_error(source, (*place, key), fault) for fault in faults]
