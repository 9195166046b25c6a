"""The rooms of the code stand in an order: each imports from those below it, and none in a ring."""

from graphlib import TopologicalSorter

import pytest
from conftest import ROOT
from imports import file_of, imports, is_within

# lowest first: a room imports from itself and from rooms above it in this list
ROOMS = [
    "core",
    "running",
    "pages",
    "data",
    "sources",
    "augment",
    "networks",
    "predict",
    "export",
    "suggest",
    "training",
    "labelling",
    "methods.semi_supervised",
    "methods.continual",
    "methods.distillation",
    "students",
    "distil",
    "ensembles",
    "specialists",
    "continual",
    "meta",
    "report",
    "params",
    "proposal",
    "tracking",
    "commands",
    "__main__",
]
PACKAGES = {"pipeline/__init__.py", "pipeline/methods/__init__.py"}  # which hold no room's code
FILES = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "pipeline").rglob("*.py"))
IN_ROOMS = [path for path in FILES if path not in PACKAGES]


def room(path: str) -> str:
    """The room that a file stands in."""
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return next(name for name in ROOMS if is_within(module, f"pipeline.{name}"))


def imported(path: str) -> set[str]:
    """The files of ours that a file imports."""
    return {results for name in imports(path) if (results := file_of(name))}


def test_every_file_stands_in_a_room_and_every_room_holds_files():
    assert {room(path) for path in IN_ROOMS} == set(ROOMS)
    assert set(FILES) >= PACKAGES


def test_a_room_imports_only_from_rooms_below_it():
    wrong = [
        f"{path} imports {other}"
        for path in IN_ROOMS
        for other in imported(path) - PACKAGES
        if ROOMS.index(room(other)) > ROOMS.index(room(path))
    ]
    assert wrong == []


def test_no_file_imports_itself_in_a_ring():
    TopologicalSorter({path: imported(path) for path in FILES}).prepare()


def test_no_file_of_the_pipeline_imports_a_stage():
    assert [path for path in FILES for other in imported(path) if other.startswith("stages/")] == []


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("mlflow", {"tracking"}),
        ("kornia", {"augment"}),
        ("sklearn", {"sources", "specialists"}),
        ("jinja2", {"pages"}),
    ],
)
def test_a_library_of_a_room_or_two_is_imported_nowhere_else(library, rooms):
    users = {room(p) for p in IN_ROOMS if any(is_within(name, library) for name in imports(p))}
    assert users == rooms
