"""The whole params.yaml checked in one pass: every fault a line, with what would be right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.errors import UserError, nearest
from pipeline.params.read import Source, read
from pipeline.params.schema import Block, Params

NAME = re.compile(r"[a-z][a-z0-9_-]*")
RESERVED = {"base"}
UNION_BRANCH = re.compile(r"[\[\](]|^(constrained-)?(int|str|float)$")  # pydantic's own words
MODEL_BLOCKS = ("generations",)


def load(path: Path | str = "params.yaml") -> Params:
    """Read and check a params file.

    Raises:
        UserError: one line for every fault in the file.
    """
    source = read(path)
    errors = []
    params = None
    try:
        params = Params.model_validate(source.values)
    except ValidationError as error:
        errors += [_readable(source, fault) for fault in _one_per_place(error)]
    errors += _lineage_faults(source) + _data_faults(source)
    if errors:
        raise UserError.all(errors)
    return params


def _one_per_place(error: ValidationError) -> list[dict]:
    """A union reports every branch that failed; one line for the key is enough."""
    seen: dict[tuple, dict] = {}
    for fault in error.errors():
        place = tuple(part for part in fault["loc"] if not UNION_BRANCH.search(str(part)))
        kind = "union" if place in seen else fault["type"]
        seen[place] = {**fault, "loc": place, "type": kind}
    return list(seen.values())


def _readable(source: Source, fault: dict) -> UserError:
    loc, kind, given = fault["loc"], fault["type"], fault["input"]
    where = source.where(loc)
    block, field = _schema_at(loc)
    if kind == "extra_forbidden":
        names = block.model_fields if block else ()
        return UserError(where, f"unknown key '{loc[-1]}'", nearest(loc[-1], names))
    if kind == "missing":
        return UserError(where, f"'{loc[-1]}' is missing", f"add it: {_expected(field)}")
    if kind == "literal_error":
        names = re.findall(r"'([^']*)'", fault["ctx"]["expected"])
        return UserError(where, f"{given!r} is no such choice", nearest(given, names))
    what = f"{given!r} is {_wrong(kind)}"
    return UserError(where, what, f"expected {_expected(field)}")


def _wrong(kind: str) -> str:
    if kind == "union":
        return "not allowed here"
    ranges = ("greater", "less", "too_short", "too_long")
    return "out of range" if kind.startswith(ranges) or "too_" in kind else "of the wrong type"


def _schema_at(loc: tuple) -> tuple[type[Block] | None, Any]:
    """The block that a location lies in, and its field, where there is one."""
    block, field = Params, None
    for part in loc:
        if block is None:
            return None, field
        known = block.model_fields.get(str(part))
        if known is None:
            # a name in a dict of models, or an index in a list, keeps the field before it
            inner = _block_in(field.annotation) if field is not None else None
            if inner is None or part == loc[-1] and inner is block:
                return block, None
            continue
        field = known
        block = _block_in(known.annotation) or (block if part == loc[-1] else None)
    return block, field


def _block_in(annotation: Any) -> type[Block] | None:
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return annotation
    inner = [_block_in(arg) for arg in getattr(annotation, "__args__", ())]
    return next((block for block in inner if block), None)


def _expected(field: Any) -> str:
    """`a number, 0 or more, less than 1`, from a field's type and bounds."""
    if field is None:
        return "a value"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    annotation = field.annotation
    kind = words.get(annotation) or _kind(annotation)
    bounds = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}
    limits = [
        text.format(f"{getattr(rule, name):g}")
        for rule in field.metadata
        for name, text in bounds.items()
        if getattr(rule, name, None) is not None
    ]
    return ", ".join([kind, *limits])


def _kind(annotation: Any) -> str:
    if _block_in(annotation):
        return "a block of keys"
    text = str(annotation)
    choices = re.findall(r"'([^']*)'", text)
    if text.startswith(("list", "typing.List")):
        return "a list of at least two names"
    number = " or a whole number of at least 1" if "int" in text else ""
    return f"{', '.join(choices)}{number}" if choices else "a value"


def _lineage_faults(source: Source) -> list[UserError]:
    """Names, parents and cycles: read from the raw values, so that a fault elsewhere in the
    file does not hide these."""
    values, errors = source.values, []
    parents: dict[str, Any] = {"teacher": None}
    for block in MODEL_BLOCKS:
        items = values.get(block)
        for name, spec in items.items() if isinstance(items, dict) else ():
            errors += _name_faults(source, (block, name), parents)
            parents[str(name)] = spec.get("teacher") if isinstance(spec, dict) else None
    for block in MODEL_BLOCKS:
        for name in values.get(block) if isinstance(values.get(block), dict) else ():
            errors += _parent_faults(source, (block, name), parents)
    final = values.get("final")
    if isinstance(final, str) and final not in parents:
        where = source.where(("final",))
        errors.append(UserError(where, f"no model is named '{final}'", nearest(final, parents)))
    return errors


def _name_faults(source: Source, loc: tuple, taken: dict) -> list[UserError]:
    name, where = str(loc[-1]), source.where(loc)
    if not NAME.fullmatch(name):
        fix = "use lower-case letters, digits, '_' and '-', a letter first"
        return [UserError(where, f"'{name}' cannot be a model's name", fix)]
    if name in RESERVED or name in taken:
        return [UserError(where, f"the name '{name}' is taken", "choose another")]
    return []


def _parent_faults(source: Source, loc: tuple, parents: dict) -> list[UserError]:
    name = str(loc[-1])
    parent, where = parents.get(name), source.where((*loc, "teacher"))
    if not isinstance(parent, str):
        return []  # missing or of the wrong type: already said
    if parent not in parents:
        return [UserError(where, f"no model is named '{parent}'", nearest(parent, parents))]
    seen = [name]
    while isinstance(parent, str) and parent in parents:
        if parent == name:
            ring = " -> ".join([*seen, name])
            return [UserError(where, f"teaches itself ({ring})", "begin the chain at 'teacher'")]
        if parent in seen:
            return []  # a ring further up, reported where it stands
        seen.append(parent)
        parent = parents[parent]
    return []


def _data_faults(source: Source) -> list[UserError]:
    data = source.values.get("data")
    if not isinstance(data, dict):
        return []
    errors = []
    classes = data.get("classes")
    names = [str(name) for name in classes] if isinstance(classes, list) else []
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        where = source.where(("data", "classes"))
        errors.append(UserError(where, f"classes named twice: {', '.join(twice)}", "keep one"))
    shares = [data.get("val"), data.get("test")]
    if all(isinstance(s, float) and 0 < s < 1 for s in shares) and sum(shares) >= 1:
        where = source.where(("data", "test"))
        what = f"val + test = {sum(shares):g} leaves nothing to train on"
        errors.append(UserError(where, what, "keep val + test under 1, say 0.15 + 0.25"))
    return errors
