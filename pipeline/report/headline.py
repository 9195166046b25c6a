"""The first screen: what ships, why, and the numbers that one remembers."""

from __future__ import annotations

from math import sqrt

import numpy as np

from typing import Any as Params
from pipeline.report import continual
from pipeline.report.gate import LEVEL, Verdict
from pipeline.report.markup import Html, between, counted, join, listed, percent, points, tag
from pipeline.report.measure import Measured, interval

Z = 1.959964  # 95 % of a normal distribution


def last_generation(params: Params) -> str:
    """The model that the chain to the candidate reached before any task."""
    return [name for name in params.chain(params.final) if name not in params.tasks][-1]


def last_split(model: Measured) -> str:
    """`test` where it was read, else `val`."""
    return list(model.seen)[-1]


def gain(mine: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """Difference of two models' accuracy on the same images, and its 95 % interval.

    The interval is Bonett and Price's (2012) for paired proportions: Wald's, with one more image
    on which each is the only one to be right.

    Args:
        mine, theirs: whether each is right, bool (N,).
    """
    num, won, lost = len(mine), int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
    up, down = (won + 1) / (num + 2), (lost + 1) / (num + 2)
    half = Z * sqrt((up + down - (up - down) ** 2) / (num + 2))
    return (won - lost) / num, up - down - half, up - down + half


def headline(
    params: Params, measured: dict[str, Measured], verdict: Verdict, champion: str | None
) -> Html:
    """The page's head."""
    model = measured[verdict.ships]
    split = last_split(model)
    seen, classes = model.seen[split], model.classes
    low, high = interval(seen.accuracy, len(seen.labels))
    refused = None if verdict.ships == params.final else f" The candidate {params.final} does not."
    return tag(
        "header",
        tag("p", f"Lineage · {params.data.source}", cls="eyebrow"),
        tag("h1", tag("strong", verdict.ships), " ships.", refused),
        tag(
            "p",
            f"It tells {len(classes)} classes apart ({listed(classes)}) and is right on ",
            tag("strong", percent(seen.accuracy)),
            f" of {counted(len(seen.labels), f'{split} image')} (95\u202f%: {between(low, high)}).",
            cls="lead",
        ),
        tag(
            "p",
            tag("strong", "Why. "),
            f"{verdict.why} A model ships unless its parent is better on the model's own val "
            f"images (p < {LEVEL}); classes that the parent does not know count against it.",
            cls="why",
        ),
        tag("p", tag("strong", "Champion. "), champion, cls="why") if champion else None,
        tag("div", tiles(params, measured), cls="tiles"),
    )


def tiles(params: Params, measured: dict[str, Measured]) -> list[Html]:
    """Teacher, last generation, the candidate where that is more than a generation, the best
    yardstick."""
    chain = params.chain(params.final)
    teacher, last, final = chain[0], last_generation(params), params.final
    given = params.data.labels_per_class
    what = f"{counted(given, 'label')} a class, {len(measured[teacher].classes)} classes"
    shown = [_tile(teacher, measured[teacher], "the first model", what)]
    if last != teacher:
        steps = len([name for name in chain if name in params.generations])
        role = f"after {counted(steps, 'generation')}"
        shown.append(_tile(last, measured[last], role, _gained(measured, last, teacher)))
    if final != last:
        model = measured[final]
        role = f"with {counted(len(model.card['heads']) - 1, 'new task')}"
        shown.append(_tile(final, model, role, _kept(measured, final)))
    if params.baselines:
        best = max(params.baselines, key=lambda name: measured[name].seen["val"].accuracy)
        role = f"the best yardstick on val, {params.baselines[best].learner}"
        shown.append(_tile(best, measured[best], role, _ahead(measured, last, best)))
    return shown


def _tile(name: str, model: Measured, role: str, note: object) -> Html:
    split = last_split(model)
    seen = model.seen[split]
    low, high = interval(seen.accuracy, len(seen.labels))
    val = model.seen["val"]
    return tag(
        "div",
        tag("p", tag("strong", name), f" · {role}", cls="soft"),
        tag("p", percent(seen.accuracy), cls="number"),
        tag("p", f"{split}, 95\u202f%: {between(low, high)}"),
        tag("p", f"val: {percent(val.accuracy)}", cls="soft") if split != "val" else None,
        tag("p", note, cls="note"),
        cls="tile",
    )


def _gained(measured: dict[str, Measured], child: str, parent: str) -> Html:
    split = last_split(measured[child])
    change, low, high = gain(measured[child].seen[split].right, measured[parent].seen[split].right)
    sure = "" if low > 0 or high < 0 else "; may be chance"
    return join(
        tag("strong", points(change)),
        f" points over the {parent} (95\u202f%: {points(low)} to {points(high)}, paired{sure})",
    )


def _ahead(measured: dict[str, Measured], last: str, yardstick: str) -> Html:
    """How far the last generation is ahead of a yardstick, or behind."""
    split = last_split(measured[last])
    mine, theirs = (measured[name].seen[split].right for name in (last, yardstick))
    change, low, high = gain(mine, theirs)
    sure = "" if low > 0 or high < 0 else "; may be chance"
    return join(
        f"{last} is ",
        tag("strong", points(change)),
        f" points beside it (95\u202f%: {points(low)} to {points(high)}, paired{sure})",
    )


def _kept(measured: dict[str, Measured], final: str) -> Html:
    """What the newest task reached, and what the first lost."""
    tasks, found = continual.matrix(measured, final, last_split(measured[final]))
    before = continual.chain(measured, final)[0]
    return join(
        "new: ",
        tag("strong", percent(found[-1, -1])),
        f" on {listed(measured[final].card['heads'][-1]['classes'], 24)}; {tasks[0]}: ",
        tag("strong", percent(found[-1, 0])),
        f" (was {percent(found[0, 0])} in {before})",
    )
