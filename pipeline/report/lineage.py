"""The lineage as a drawing: a box a model, an arrow from each to those it taught or became; of an
ensemble the first member has the arrow, its box names all."""

from dataclasses import dataclass
from typing import NamedTuple

from pipeline.pages.formats import counted, listed, percent, weights
from pipeline.report import continual
from pipeline.report.answers import Answers
from pipeline.report.results import Results

WIDTH, HEIGHT = 178, 96  # of a box, px
GAP_ALONG, GAP_ACROSS = 34, 22  # between boxes, along the arrows and across
MARGIN = 6
DEEPEST = 6  # a lineage of more steps is drawn downwards only


class Place(NamedTuple):
    """Where a model stands: so many steps from a first model, in which lane."""

    depth: int
    lane: int


def places(parents: dict[str, str | None], main: list[str]) -> dict[str, Place]:
    """Lay a forest out without crossings: a first child stands in its parent's lane, the subtree
    of each further one in the nearest lanes that are free at all its depths.

    Args:
        parents: of each model, parents before children; None for a first model.
        main: the chain that goes straight, in the first lane.
    """
    children: dict[str | None, list[str]] = {}
    for name, parent in parents.items():
        children.setdefault(parent, []).append(name)

    def below(parent: str | None, depth: int) -> dict[str, Place]:
        placed: dict[str, Place] = {}
        for child in sorted(children.get(parent, []), key=lambda name: name not in main):
            subtree = {child: Place(depth, 0), **below(child, depth + 1)}
            deepest = max(place.depth for place in subtree.values())
            taken = [p.lane + 1 for p in placed.values() if p.depth <= deepest]
            shift = max(taken, default=0)
            placed |= {name: Place(p.depth, p.lane + shift) for name, p in subtree.items()}
        return placed

    return below(None, 0)


@dataclass(frozen=True)
class Box:
    """A model in the drawing.

    Attributes:
        note: what it learnt from.
        methods: that it learnt by, apart from its labels; perhaps empty.
        size: its network and weights.
    """

    name: str
    note: str
    methods: str
    size: tuple[str, str]
    answers: Answers
    ships: bool


@dataclass(frozen=True)
class Graph:
    """The drawing in one direction.

    Attributes:
        boxes: with the corner of each, px.
        arrows: path, head, and whether it adds a task.
    """

    width: int
    height: int
    boxes: list[tuple[Box, int, int]]
    arrows: list[tuple[str, str, bool]]


def section(results: Results) -> dict:
    """The graph: from left to right where there is room, else downwards."""
    lineage = results.lineage
    parents = {name: entry.parent for name, entry in lineage.entries.items()}
    placed = places(parents, lineage.chain(lineage.final))
    deep = max(place.depth for place in placed.values()) >= DEEPEST
    taught = ", ".join(
        f"{parent} to {name}"
        for name, entry in lineage.entries.items()
        for parent in (entry.parent, *entry.others)
        if parent
    )
    return {
        "split": results.split,
        "measure": results.measured[results.ships].shown.measure,
        "methods": any(_box(results, name).methods for name in lineage),
        "label": f"Lineage: {taught or 'one model'}",
        "box": (WIDTH, HEIGHT),
        "across": None if deep else _graph(results, placed, upright=False),
        "down": _graph(results, placed, upright=True),
    }


def _graph(results: Results, placed: dict[str, Place], upright: bool) -> Graph:
    corner = {name: _corner(place, upright) for name, place in placed.items()}
    entries = results.lineage.entries
    return Graph(
        width=max(x for x, _ in corner.values()) + WIDTH + MARGIN,
        height=max(y for _, y in corner.values()) + HEIGHT + MARGIN,
        boxes=[(_box(results, name), *corner[name]) for name in entries],
        arrows=[
            (*_arrow(corner[entry.parent], corner[name], upright), entry.block == "tasks")
            for name, entry in entries.items()
            if entry.parent is not None
        ],
    )


def _corner(place: Place, upright: bool) -> tuple[int, int]:
    if upright:
        x, y = place.lane * (WIDTH + GAP_ACROSS), place.depth * (HEIGHT + GAP_ALONG)
    else:
        x, y = place.depth * (WIDTH + GAP_ALONG), place.lane * (HEIGHT + GAP_ACROSS)
    return x + MARGIN, y + MARGIN


def _arrow(start: tuple[int, int], end: tuple[int, int], upright: bool) -> tuple[str, str]:
    """Out of the parent, half-way along, across to the child's lane, in: the path, its head."""
    (x0, y0), (x1, y1) = start, end
    if upright:
        x0, y0, x1 = x0 + WIDTH // 2, y0 + HEIGHT, x1 + WIDTH // 2
        middle = y0 + GAP_ALONG // 2 - 4
        return f"M{x0} {y0}V{middle}H{x1}V{y1 - 1}", f"M{x1 - 4} {y1 - 7}l4 6l4 -6"
    x0, y0, y1 = x0 + WIDTH, y0 + HEIGHT // 2, y1 + HEIGHT // 2
    middle = x0 + GAP_ALONG // 2 - 4
    return f"M{x0} {y0}H{middle}V{y1}H{x1 - 1}", f"M{x1 - 7} {y1 - 4}l6 4l-6 4"


def _box(results: Results, name: str) -> Box:
    entry, model = results.lineage[name], results.measured[name]
    return Box(
        name=name,
        note=_note(results, name),
        methods=" + ".join(entry.methods) or ("fine-tuning" if entry.block == "tasks" else ""),
        size=(model.card["network"]["name"], weights(model.card["num_parameters"])),
        answers=model.shown,
        ships=name == results.ships,
    )


def _note(results: Results, name: str) -> str:
    entry, model = results.lineage[name], results.measured[name]
    if entry.block == "tasks":
        classes = continual.newest_classes(model.card)
        if model.card.get("task", {}).get("scenario") == "domain":
            return f"new images: {listed(classes, 14)}"
        return f"+ {listed(classes, 22)}"
    if name in results.quality:
        labels = results.quality[name]
        right = "" if labels.accuracy is None else f", {percent(labels.accuracy)} right"
        return f"{labels.rows:,} labels{right}"
    if entry.block == "meta_pseudo_labels":
        student = name in results.lineage.pairs()
        return "learns corrected labels" if student else "corrected by its student"
    if entry.block == "distilled":
        return f"learns from {entry.parent}"
    if entry.block == "ensembles":
        return f"{entry.parent} and {', '.join(entry.others)}, one answer"
    if entry.block == "baselines":
        return "baseline from labels"
    return f"{counted(len(model.classes), 'class')} from labels"
