"""What was kept and what was forgotten, task by task."""

from __future__ import annotations

import numpy as np

from typing import Any as Params
from pipeline.report import continual
from pipeline.report.confusion import RIGHT, cell
from pipeline.report.headline import last_split
from pipeline.report.markup import Html, listed, percent, points, section, tag
from pipeline.report.measure import Measured


def tasks(params: Params, measured: dict[str, Measured], metrics: dict[str, float]) -> Html | None:
    """The task matrix of every model that ends a chain of tasks."""
    bases = {task.base for task in params.tasks.values()}
    ends = [name for name in measured if name in params.tasks and name not in bases]
    if not ends:
        return None
    ends.sort(key=lambda name: name != params.final)
    return section(
        "tasks",
        "What was kept",
        tag(
            "p",
            "A row is a model, a column a task: the share right of that task's images while "
            "answering among all the classes the model knows.",
        ),
        tag("div", (_one(measured, name, metrics) for name in ends), cls="panels"),
        tag(
            "ul",
            tag(
                "li",
                tag("strong", "Forgetting"),
                " is how far the earlier tasks fell from the best they ever were, on average; 0 is "
                "none.",
            ),
            tag(
                "li",
                tag("strong", "Backward transfer"),
                " (BWT) is how much the earlier tasks changed since each was learnt, on average; "
                "below 0 learning more has cost the old.",
            ),
            tag(
                "li",
                tag("strong", "Task told"),
                " is the last model answering among the right task's classes only: what is lost "
                "there is lost for good, the rest is mistaking one task for another.",
            ),
            cls="soft",
        ),
    )


def _one(measured: dict[str, Measured], name: str, metrics: dict[str, float]) -> Html:
    split = last_split(measured[name])
    names, found = continual.matrix(measured, name, split)
    heads = {head["task"]: head["classes"] for head in measured[name].card["heads"]}
    rows = [
        tag("tr", tag("th", model), map(_share, found[i]))
        for i, model in enumerate(continual.chain(measured, name))
    ]
    prefix = "val_" if split == "val" else ""
    told = [metrics.get(f"{prefix}task_acc_told/{name}/{task}", np.nan) for task in names]
    columns = (
        tag("th", tag("span", task), tag("br"), tag("small", listed(heads[task], 16)))
        for task in names
    )
    table = tag(
        "table",
        tag("tr", tag("th"), columns),
        rows,
        tag("tr", tag("th", f"{name}, task told"), map(_share, told), cls="apart"),
        cls="heat rates matrix",
    )
    return tag(
        "div",
        tag("h3", name, tag("span", f" on {split}")),
        tag("div", table, cls="scroll"),
        tag(
            "p",
            "Forgetting ",
            tag("strong", f"{100 * continual.forgetting(found):.1f}"),
            " points, backward transfer ",
            tag("strong", points(continual.backward_transfer(found))),
            " points.",
        ),
    )


def _share(share: float) -> Html:
    return tag("td") if np.isnan(share) else cell(percent(share), share, RIGHT)
