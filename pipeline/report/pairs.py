"""Meta Pseudo Labels on the page: what the student's feedback said, and what it made of the
teacher."""

from __future__ import annotations

from typing import Any as Params
from pipeline.report import plots
from pipeline.report.figures import canvas, svg
from pipeline.report.headline import last_split
from pipeline.report.markup import Html, percent, points, section, table, tag
from pipeline.report.measure import Measured


def pairs(params: Params, measured: dict[str, Measured]) -> Html | None:
    """The curves of every pair; its teacher before and after."""
    names = list(params.meta_pseudo_labels)
    if not names:
        return None
    return section(
        "meta-pseudo-labels",
        "Meta Pseudo Labels",
        tag(
            "p",
            "A student learns from labels that its teacher draws; the teacher is corrected by the "
            "feedback: how far each such step brings the student's loss on labelled images down. "
            "Both go on together.",
        ),
        (_one(name) for name in names),
        _table(params, measured),
        tag(
            "p",
            "Labels right: share of the unlabelled images that a model has right, which no "
            "training was told.",
            cls="soft",
        )
        if any(model.unlabelled is not None for model in measured.values())
        else None,
    )


def _one(name: str) -> Html:
    found = plots.curve(name)
    drawn = []
    for draw, key, told in (
        (plots.feedback, "feedback", "Mean feedback over the steps"),
        (plots.both_accuracies, "val", "Val accuracy of student and teacher over the steps"),
        (plots.agreement, "agreement", "How often feedback is positive and both networks agree"),
        (plots.teachers_losses, "losses", "The parts of the teacher's loss over the steps"),
    ):
        figure, axes = canvas(4.6, 3.1)
        draw(axes, found)
        axes.set_title(name, loc="right", fontweight="bold")
        drawn.append(svg(figure, f"{key}-{name}", f"{told}, {name}"))
    return tag("div", drawn, cls="panels")


def _table(params: Params, measured: dict[str, Measured]) -> Html:
    split = last_split(next(iter(measured.values())))
    rows = []
    for pair, spec in params.meta_pseudo_labels.items():
        before, after, student = (measured[name] for name in params.trio(pair))
        for name, role, model in (
            (spec.teacher, "teacher before", before),
            (params.trio(pair)[1], "teacher after", after),
            (pair, "student", student),
        ):
            right, change = model.unlabelled, ""
            if right is not None and model is not before:
                change = points(right - before.unlabelled)
            share = "not known" if right is None else percent(right)
            accuracy = percent(model.seen[split].accuracy)
            rows.append([tag("strong", name), role, spec.feedback, accuracy, share, change])
    head = ["model", "role", "feedback", split, "labels right", "points more than before"]
    return table(head, rows, left=3)
