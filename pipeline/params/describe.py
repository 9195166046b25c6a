"""Tables of every parameter and every method, from the code that obeys them."""

import re
import sys
from collections.abc import Iterator

from pydantic.fields import FieldInfo

from pipeline.core.block import Block
from pipeline.methods.continual import CONTINUAL
from pipeline.methods.distillation import DISTILLATION
from pipeline.methods.semi_supervised import SEMI_SUPERVISED
from pipeline.params.schema import Params
from pipeline.params.words import block_in, expected
from pipeline.training.method import Method, MethodsBlock, first_line

FAMILIES: dict[str, dict[str, type[Method]]] = {
    "semi-supervised": SEMI_SUPERVISED,
    "continual": CONTINUAL,
    "distillation": DISTILLATION,
}
CITATION = re.compile(r"\(([^()]*\b(?:19|20)\d\d\b[^()]*)\)")  # the first with a year
ARXIV = re.compile(r",? *arXiv:(\d+\.\d+)")
HEAD = """# Parameters

Every method, and every key of params.yaml; `python -m pipeline params` prints this page.

A key is required unless its row says what it is if it is left out, or that it is optional.
`<name>` is the name of a model, `<model>` the block of any that has the key.
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
    """As the first citation of its file, with a link to arXiv where that is one."""
    citation = CITATION.search(sys.modules[method.__module__].__doc__ or "")
    if not citation:
        return ""
    words = " ".join(citation[1].split())
    number = ARXIV.search(words)
    return f"[{ARXIV.sub('', words)}](https://arxiv.org/abs/{number[1]})" if number else words


def _blocks() -> Iterator[tuple[str, type[Block]]]:
    """Every block with its place; what several models have, once, at the end."""
    yield "", Params
    places: dict[str, list[str]] = {}  # of blocks inside blocks, by key
    inside: dict[str, type[Block]] = {}
    for key, field in Params.by_key().items():
        block = block_in(field.annotation)
        if block is None:
            continue
        place = f"{key}.<name>" if str(field.annotation).startswith("dict") else key
        yield place, block
        for inner, described in block.by_key().items():
            nested = block_in(described.annotation)
            if nested is None or nested.__name__.endswith("Override"):
                continue
            options = nested.by_key() if issubclass(nested, MethodsBlock) else {"": described}
            for name, option in options.items():
                below = f"{inner}.{name}".rstrip(".")
                places.setdefault(below, []).append(place)
                inside[below] = block_in(option.annotation)
    for key, block in inside.items():
        yield f"{'<model>' if len(places[key]) > 1 else places[key][0]}.{key}", block


def _rows(block: type[Block]) -> Iterator[str]:
    yield "| key | value | meaning |"
    yield "|---|---|---|"
    for name, field in block.by_key().items():
        if field.description:
            yield f"| `{name}` | {expected(field)}{_default(field)} | {field.description} |"


def _default(field: FieldInfo) -> str:
    """What a key is when it is left out, where that is a plain value."""
    if field.is_required():
        return ""
    value = field.default
    if value in (None, "") or isinstance(value, Block):
        return "; optional"
    words = value if isinstance(value, list) else [f"{value:g}" if type(value) is float else value]
    return f"; {', '.join(map(str, words)).lower()} if left out"
