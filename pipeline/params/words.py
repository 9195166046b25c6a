"""What a key may be, in words, read off the schema that checks it."""

import re
from typing import Any

from pipeline.core.block import Block
from pipeline.params.schema import Params


def schema_at(loc: tuple) -> tuple[type[Block] | None, Any]:
    """The block that a location lies in, and its field, where there is one."""
    block, field = Params, None
    for part in loc:
        if block is None:
            return None, field
        known = block.by_key().get(str(part))
        if known is None:
            # a name in a dict of models, or an index in a list, keeps the field before it
            inner = block_in(field.annotation) if field is not None else None
            if inner is None or part == loc[-1] and inner is block:
                return block, None
            continue
        field = known
        block = block_in(known.annotation) or (block if part == loc[-1] else None)
    return block, field


def block_in(annotation: Any) -> type[Block] | None:
    """The block that an annotation names, perhaps inside a dict or a union with None."""
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return annotation
    inner = [block_in(arg) for arg in getattr(annotation, "__args__", ())]
    return next((block for block in inner if block), None)


def wrong(kind: str) -> str:
    """What a kind of pydantic's errors means to a person."""
    if kind == "union":
        return "not allowed here"
    if kind == "string_pattern_mismatch":
        return "of another form"
    ranges = ("greater", "less", "too_short", "too_long")
    return "out of range" if kind.startswith(ranges) or "too_" in kind else "of the wrong type"


def expected(field: Any) -> str:
    """`a number, 0 or more, less than 1`, from a field's type and bounds."""
    if field is None:
        return "a value"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    annotation = field.annotation
    kind = words.get(annotation) or _kind(annotation)
    bounds = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}
    forms = [f"of the form {p}" for p in (getattr(r, "pattern", None) for r in field.metadata) if p]
    limits = [
        text.format(f"{getattr(rule, name):g}")
        for rule in field.metadata
        for name, text in bounds.items()
        if getattr(rule, name, None) is not None
    ]
    return ", ".join([kind, *forms, *limits])


def _kind(annotation: Any) -> str:
    if block_in(annotation):
        return "a block of keys"
    text = str(annotation)
    choices = re.findall(r"'([^']*)'", text)
    if text.startswith(("list", "typing.List")):
        return "a list of names"
    whole = " or a whole number of at least 1, at most a million"
    number = whole if re.search(r"\bint\b", text) else ""
    # a family such as torchvision/resnet18, torchvision/resnet34 is one word, see docs/networks.md
    families = dict.fromkeys(re.sub("/.*", "/...", choice) for choice in choices)
    return f"{', '.join(families)}{number}" if choices else "a value"
