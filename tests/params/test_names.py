"""Names that params.yaml may use stand once in the code: in the dict of what they name."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from faults import leaves

from pipeline.core.block import Block
from pipeline.labelling.transforms import TRANSFORMS
from pipeline.methods.continual import CONTINUAL
from pipeline.methods.semi_supervised import SEMI_SUPERVISED
from pipeline.networks import NETWORKS
from pipeline.networks.torchvision import TORCHVISION
from pipeline.params.describe import FAMILIES
from pipeline.params.schema import Params
from pipeline.params.words import block_in
from pipeline.sources import SOURCES
from pipeline.training.method import MethodsBlock
from pipeline.training.recipe import OPTIMIZERS

# what stands in more than one file by chance, or must: history cannot be derived from today
ELSEWHERE = {"pipeline/params/old_forms.py"}
METHODS = "pipeline/methods/{}/__init__.py"
LISTED = {  # by what they name: the names, and the files that list them
    "networks": (NETWORKS.keys() - TORCHVISION.keys(), {"pipeline/networks/__init__.py"}),
    "torchvision's": (
        {name.split("/")[1] for name in TORCHVISION},
        {"pipeline/networks/torchvision.py"},
    ),
    "sources": (
        SOURCES.keys(),
        {"pipeline/sources/__init__.py", "pipeline/sources/torchvision.py"},
    ),
    "transforms": (  # a proposal chooses some
        TRANSFORMS.keys(),
        {"pipeline/labelling/transforms.py", "pipeline/proposal/rules.py"},
    ),
    "optimisers": (OPTIMIZERS.keys(), {"pipeline/training/recipe.py"}),
    "methods": (
        CONTINUAL.keys() | SEMI_SUPERVISED.keys(),
        {
            METHODS.format("continual"),
            METHODS.format("semi_supervised"),
            "pipeline/methods/continual/piggyback.py",  # what it makes no sense with
        },
    ),
}


def lists(path: Path) -> Iterator[set[str]]:
    """The words of every string and of every collection of strings in a file, docstrings not."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    described = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        strings = [node, *ast.iter_child_nodes(node)]
        texts = [
            text.value
            for text in strings
            if isinstance(text, ast.Constant)
            and isinstance(text.value, str)
            and id(text) not in described
        ]
        if texts:
            yield {word for text in texts for word in re.findall(r"[\w/]+", text)}


def listing(names: set[str]) -> set[str]:
    """The files of the code where a list or a string holds two of the names, or more."""
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / "pipeline").rglob("*.py")
        if any(len(words & names) > 1 for words in lists(path))
    }


@pytest.mark.parametrize("what", LISTED)
def test_names_are_listed_where_they_are_obeyed_alone(what):
    names, homes = LISTED[what]
    results = listing(set(names)) - ELSEWHERE
    assert results and results <= homes


def method_blocks(block: type[Block] = Params) -> Iterator[type[MethodsBlock]]:
    for field in block.by_key().values():
        inner = block_in(field.annotation)
        if inner is not None and issubclass(inner, MethodsBlock):
            yield inner
        elif inner is not None:
            yield from method_blocks(inner)


def test_every_block_of_methods_has_the_names_of_its_family_and_the_page_has_them_all():
    blocks = list(method_blocks())
    assert len(blocks) == 5
    known = {name for family in FAMILIES.values() for name in family}
    for block in blocks:
        assert list(block.by_key()) == list(block.family) and set(block.family) <= known
    assert {name for block in blocks for name in block.family} == known


def test_no_key_is_described_as_nothing():
    assert [key for key, field in leaves() if not field.description] == []
