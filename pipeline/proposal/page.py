"""A params.yaml as text: every value with its reason as a comment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.proposal.rules import Because

COLUMN = 30  # where reasons begin
WIDTH = 100
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_/]*( [A-Za-z0-9_/]+)*")
# words that one YAML reader or another takes for something else than text
NOT_TEXT = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def text(values: Mapping, head: str, level: int = 0) -> str:
    """The file.

    Args:
        values: blocks of `Because`, keys in the order of the file.
        head: lines of comment to begin with.
    """
    lines = [f"# {line}".rstrip() for line in head.splitlines()]
    for key, value in values.items():
        lines += ["", *_entry(key, value, level)]
    return "\n".join(lines) + "\n"


def _entry(key: str, value: Any, level: int) -> Iterator[str]:
    indent = "  " * level
    if isinstance(value, Mapping) and value:
        yield f"{indent}{key}:"
        for name, item in value.items():
            yield from _entry(name, item, level + 1)
        return
    value, why = value if isinstance(value, Because) else (value, "")
    line = f"{indent}{key}: {flow(value)}"
    if why and max(COLUMN, len(line) + 2) + len(why) + 2 <= WIDTH:
        yield f"{line:{COLUMN - 2}}  # {why}"
        return
    if why:
        yield from (f"{indent}# {part}" for part in _wrapped(why.split(), WIDTH - len(indent) - 2))
    if isinstance(value, list) and len(line) > WIDTH:
        yield from _long(f"{indent}{key}: [", value)
    else:
        yield line


def _long(start: str, values: list) -> Iterator[str]:
    """A list over several lines."""
    words = [f"{flow(value)}," for value in values]
    first, *rest = _wrapped(words, WIDTH - len(start))
    lines = [f"{start}{first}", *(" " * len(start) + line for line in rest)]
    yield from lines[:-1]
    yield f"{lines[-1][:-1]}]"


def _wrapped(words: list[str], width: int) -> Iterator[str]:
    line = ""
    for word in words:
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield line


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {flow(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        plain = PLAIN.fullmatch(value) and value.lower() not in NOT_TEXT
        return value if plain else json.dumps(value, ensure_ascii=False)
    return repr(value)
