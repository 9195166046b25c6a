"""Tables of every parameter and every method, from the code that obeys them."""

import re
import sys
from collections.abc import Iterator

from pydantic.fields import FieldInfo

from pipeline.core.block import Block
from pipeline.methods.continual import CONTINUAL
from pipeline.methods.semi_supervised import SEMI_SUPERVISED
from pipeline.params.schema import Params
from pipeline.params.words import block_in, expected
from pipeline.training.method import Method, MethodsBlock, first_line

FAMILIES: dict[str, dict[str, type[Method]]] = {
    "semi-supervised": SEMI_SUPERVISED,
    "continual": CONTINUAL,
}
ARXIV = re.compile(r"arXiv:(\d+\.\d+)")
HEAD = """# Parameters

Every key of params.yaml, and every method. `python -m pipeline params` prints this page.
"""


def markdown() -> str:
    """The page: a table of the methods, then one for each block of params.yaml."""
    parts = [HEAD, "## Methods\n", *_methods()]
    for key, block in _blocks():
        parts += [f"\n## {f'`{key}`' if key else 'Top level'}\n", *_rows(block)]
    return "\n".join(parts)


def _methods() -> Iterator[str]:
    yield "| method | family | what it does | paper |"
    yield "|---|---|---|---|"
    for family, methods in FAMILIES.items():
        for name, method in methods.items():
            yield f"| `{name}` | {family} | {first_line(method)} | {_paper(method)} |"


def _paper(method: type[Method]) -> str:
    number = ARXIV.search(sys.modules[method.__module__].__doc__ or "")
    return f"[arXiv:{number[1]}](https://arxiv.org/abs/{number[1]})" if number else ""


def _blocks() -> Iterator[tuple[str, type[Block]]]:
    """Every block with its place; those that several models have, once, at the end."""
    shared: dict[str, type[Block]] = {}
    yield "", Params
    for key, field in Params.by_key().items():
        block = block_in(field.annotation)
        if block is None:
            continue
        yield (f"{key}.<name>" if str(field.annotation).startswith("dict") else key), block
        for inner, described in block.by_key().items():
            nested = block_in(described.annotation)
            if nested and not nested.__name__.endswith("Override"):
                shared.setdefault(inner, nested)
    methods = {
        name: method.Options for family in FAMILIES.values() for name, method in family.items()
    }
    yield from ((f"<model>.methods.{name}", options) for name, options in methods.items())
    for key, block in shared.items():
        if not issubclass(block, MethodsBlock):
            yield f"<model>.{key}", block


def _rows(block: type[Block]) -> Iterator[str]:
    yield "| key | value | meaning |"
    yield "|---|---|---|"
    for name, field in block.by_key().items():
        if field.description:
            yield f"| `{name}` | {expected(field)}{_default(field)} | {field.description} |"


def _default(field: FieldInfo) -> str:
    """What a key is when it is left out, where that is a plain value."""
    if field.is_required() or field.default is None or isinstance(field.default, Block):
        return ""
    value = field.default
    return f"; {', '.join(value) if isinstance(value, list) else value} if left out"
