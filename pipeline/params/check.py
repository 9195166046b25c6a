"""The whole params.yaml checked in one pass: every fault a line, with what would be right."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.core.block import Block, Fault
from pipeline.core.errors import UserError, nearest
from pipeline.core.yaml_file import Source, read
from pipeline.params.lineage import lineage_faults
from pipeline.params.old_forms import old_forms
from pipeline.params.schema import Params
from pipeline.params.words import block_in, expected, schema_at, wrong

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
    errors += [*lineage_faults(source), *_own_faults(source)]
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
        models = str(field.annotation).startswith("dict")  # by name, of which there may be none
        fix = f"`{loc[-1]}: {{}}` for none" if models else expected(field)
        return UserError(where, f"'{loc[-1]}' is missing", f"add it: {fix}")
    if kind == "fault":  # a rule of our own
        return UserError(where, fault["ctx"]["what"], fault["ctx"]["fix"])
    if kind == "literal_error":
        names = re.findall(r"'([^']*)'", fault["ctx"]["expected"])
        return UserError(where, f"{given!r} is no such choice", nearest(given, names))
    what = f"{given!r} is {wrong(kind)}"
    entry = block is not None and field is None  # of a dict of models
    return UserError(where, what, f"expected {'a block of keys' if entry else expected(field)}")


def _own_faults(source: Source) -> Iterator[UserError]:
    """Of each block that is valid by itself, so that a fault elsewhere does not hide these; of a
    model's own keys, with the shared block that they override: what that has alone is its own."""
    blocks = dict(_valid_blocks((), Params, source.values))
    for place, block in blocks.items():
        shared = blocks.get(place[-1:]) if len(place) > 1 else None
        known = list(shared.faults()) if shared else []
        whole = shared.override(block) if shared else block
        yield from (_error(source, place, fault) for fault in whole.faults() if fault not in known)


def _error(source: Source, place: Place, fault: Fault) -> UserError:
    return UserError(source.where((*place, *fault.key.split("."))), fault.what, fault.fix)


def _valid_blocks(place: Place, kind: type[Block], value: Any) -> Iterator[tuple[Place, Block]]:
    if not isinstance(value, dict):
        return
    with suppress(ValidationError):
        yield place, kind.model_validate(value)
    for key, field in kind.by_key().items():
        inner, given = block_in(field.annotation), value.get(key)
        if inner is None:
            continue
        named = str(field.annotation).startswith("dict") and isinstance(given, dict)
        for name, item in given.items() if named else [((), given)]:
            below = (*place, key, name) if named else (*place, key)
            yield from _valid_blocks(below, inner, item)


def _conflicts(source: Source, params: Params) -> Iterator[UserError]:
    """Of each model where it stands."""
    for name, place in params.places().items():
        if place[-1] != name:
            continue  # what a teacher becomes has the recipe of its student
        config = params.config(name)
        yield from (_error(source, place, fault) for fault in config.options.conflicts(config))
