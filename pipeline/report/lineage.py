"""The lineage as a drawing: a box a model, an arrow from each to those it taught or became."""

from __future__ import annotations

from typing import NamedTuple

from typing import Any as Params
from pipeline.report.headline import last_split
from pipeline.report.markup import Html, counted, listed, percent, section, short, tag
from pipeline.report.measure import LabelQuality, Measured, interval

WIDTH, HEIGHT = 178, 96  # of a box, px
GAP_ALONG, GAP_ACROSS = 34, 22  # between boxes, along the arrows and across
MARGIN = 6


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
        found: dict[str, Place] = {}
        for child in sorted(children.get(parent, []), key=lambda name: name not in main):
            subtree = {child: Place(depth, 0), **below(child, depth + 1)}
            deepest = max(place.depth for place in subtree.values())
            taken = [p.lane + 1 for p in found.values() if p.depth <= deepest]
            shift = max(taken, default=0)
            found |= {name: Place(p.depth, p.lane + shift) for name, p in subtree.items()}
        return found

    return below(None, 0)


def drawn(
    params: Params, measured: dict[str, Measured], quality: dict[str, LabelQuality], ships: str
) -> Html:
    """The section with the graph: from left to right where there is room, else downwards."""
    parents = {name: params.parent(name) for name in measured}
    found = places(parents, params.chain(params.final))
    notes = {name: _how(params, measured, quality, name) for name in measured}
    deepest = max(place.depth for place in found.values())
    across = _graph(parents, found, measured, notes, ships, params, upright=False)
    down = _graph(parents, found, measured, notes, ships, params, upright=True)
    split = last_split(next(iter(measured.values())))
    return section(
        "lineage",
        "Who taught whom",
        tag(
            "p",
            f"Each box is a model with its {split} accuracy over the classes it knows; the bar "
            "under it is the 95\u202f% interval, from 0 to 100\u202f%. Solid arrows teach by "
            "pseudo-labels, dashed ones add a task.",
        ),
        tag("div", across, cls="scroll wide-only") if deepest < 6 else None,
        tag("div", down, cls="scroll narrow-only" if deepest < 6 else "scroll"),
    )


def _how(
    params: Params, measured: dict[str, Measured], quality: dict[str, LabelQuality], name: str
) -> str:
    if name in params.tasks:
        methods = " + ".join(params.tasks[name].methods) or "fine-tuning"
        return f"+ {listed(params.tasks[name].classes, 24 - len(methods))} by {methods}"
    if name in quality:
        right = quality[name].accuracy
        shown = "" if right is None else f", {percent(right)} right"
        return f"{quality[name].rows:,} labels{shown}"
    if name in params.meta_pseudo_labels:
        return "by labels corrected on the way"
    if params.pair(name):
        return "corrected by its student"
    if name in params.baselines:
        return f"yardstick: {params.baselines[name].learner}"
    return f"{counted(len(measured[name].classes), 'class')} from labels"


def _graph(
    parents: dict[str, str | None],
    found: dict[str, Place],
    measured: dict[str, Measured],
    notes: dict[str, str],
    ships: str,
    params: Params,
    upright: bool,
) -> Html:
    corner = {name: _corner(place, upright) for name, place in found.items()}
    width = max(x for x, _ in corner.values()) + WIDTH + MARGIN
    height = max(y for _, y in corner.values()) + HEIGHT + MARGIN
    arrows = [
        _arrow(corner[parent], corner[name], name in params.tasks, upright)
        for name, parent in parents.items()
        if parent is not None
    ]
    boxes = [
        _box(name, model, notes[name], corner[name], name == ships)
        for name, model in measured.items()
    ]
    told = ", ".join(f"{p} to {name}" for name, p in parents.items() if p)
    return tag(
        "svg",
        arrows,
        boxes,
        cls="graph",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label=f"Lineage: {told or 'one model'}",
    )


def _corner(place: Place, upright: bool) -> tuple[int, int]:
    if upright:
        x, y = place.lane * (WIDTH + GAP_ACROSS), place.depth * (HEIGHT + GAP_ALONG)
    else:
        x, y = place.depth * (WIDTH + GAP_ALONG), place.lane * (HEIGHT + GAP_ACROSS)
    return x + MARGIN, y + MARGIN


def _arrow(start: tuple[int, int], end: tuple[int, int], task: bool, upright: bool) -> Html:
    """Out of the parent, half-way along, across to the child's lane, in."""
    (x0, y0), (x1, y1) = start, end
    if upright:
        x0, y0, x1 = x0 + WIDTH // 2, y0 + HEIGHT, x1 + WIDTH // 2
        middle = y0 + GAP_ALONG // 2 - 4
        path, head = f"M{x0} {y0}V{middle}H{x1}V{y1 - 1}", f"M{x1 - 4} {y1 - 7}l4 6l4 -6"
    else:
        x0, y0, y1 = x0 + WIDTH, y0 + HEIGHT // 2, y1 + HEIGHT // 2
        middle = x0 + GAP_ALONG // 2 - 4
        path, head = f"M{x0} {y0}H{middle}V{y1}H{x1 - 1}", f"M{x1 - 7} {y1 - 4}l6 4l-6 4"
    dashed = tag("path", d=path, cls="arrow task" if task else "arrow")
    return tag("g", dashed, tag("path", d=head, cls="arrow"))


def _box(name: str, model: Measured, note: str, corner: tuple[int, int], ships: bool) -> Html:
    x, y = corner
    seen = model.seen[last_split(model)]
    low, high = interval(seen.accuracy, len(seen.labels))
    network, num = model.card["network"]["name"], model.card["num_parameters"]
    weights = f"{num / 1e3:,.0f} k" if num < 1e6 else f"{num / 1e6:,.1f} M"
    left, length = x + 12, WIDTH - 24
    bar = y + HEIGHT - 11
    return tag(
        "g",
        tag("title", f"{name}: {note}"),
        tag("rect", x=x, y=y, width=WIDTH, height=HEIGHT, rx=8, cls="box"),
        tag("text", short(name, 12), x=left, y=y + 22, cls="name"),
        tag("text", "ships", x=left + length, y=y + 22, cls="badge") if ships else None,
        tag("text", f"{short(network, 12)} · {weights} weights", x=left, y=y + 38),
        tag("text", short(note, 28), x=left, y=y + 53),
        tag("text", percent(seen.accuracy), x=left, y=y + 76, cls="number"),
        tag("rect", x=left, y=bar, width=length, height=3, rx=1.5, cls="track"),
        tag(
            "rect",
            x=f"{left + low * length:.1f}",
            y=bar - 1,
            width=f"{max((high - low) * length, 1):.1f}",
            height=5,
            rx=2.5,
            cls="range",
        ),
        tag("circle", cx=f"{left + seen.accuracy * length:.1f}", cy=bar + 1.5, r=2.5, cls="dot"),
        cls="model ships" if ships else "model",
    )
