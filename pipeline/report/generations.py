"""How right every model is, and how good the labels were that each generation learnt from."""

from __future__ import annotations

from typing import Any as Params
from pipeline.report import plots
from pipeline.report.figures import canvas, svg
from pipeline.report.headline import last_generation
from pipeline.report.markup import Html, between, counted, fold, percent, section, table, tag
from pipeline.report.measure import LabelQuality, Measured, interval

SHOWN = 5  # class histograms, before the others are folded


def accuracy(params: Params, measured: dict[str, Measured], metrics: dict[str, float]) -> Html:
    """Accuracy of all models, drawn and as a table."""
    figure, axes = canvas(5.6, plots.accuracy_height(measured))
    plots.accuracy(axes, measured)
    splits = list(next(iter(measured.values())).seen)
    sizes = {len(model.classes) for model in measured.values()}
    return section(
        "accuracy",
        "Accuracy",
        tag(
            "p",
            "Bars are 95\u202f% Wilson intervals. ",
            "Models that know more classes face a harder question: compare those that know the "
            "same. "
            if len(sizes) > 1
            else None,
            "Selection looked at val; test was read once, here."
            if "test" in splits
            else "Test was not read.",
        ),
        tag("div", svg(figure, "accuracy", "Accuracy of every model with intervals"), cls="solo"),
        _table(params, measured, metrics),
    )


def _table(params: Params, measured: dict[str, Measured], metrics: dict[str, float]) -> Html:
    splits = list(next(iter(measured.values())).seen)
    head = ["model", "from"]
    for split in splits:
        head += [split, "95\u202f%"]
    head += ["val NLL", "classes", "weights", "images seen", "network"]
    rows = []
    for name, model in measured.items():
        row = [tag("strong", name), params.taught_by(name)]
        for seen in model.seen.values():
            share = seen.accuracy
            row += [percent(share), between(*interval(share, len(seen.labels)))]
        row += [f"{metrics[f'val_loss/{name}']:.3f}", len(model.classes)]
        counts = [f"{model.card[key]:,}" for key in ("num_parameters", "images_seen")]
        rows.append([*row, *counts, model.card["network"]["name"]])
    return table(head, rows, left=2)


def pseudo_labels(
    params: Params, measured: dict[str, Measured], quality: dict[str, LabelQuality]
) -> Html | None:
    """How many labels each teacher gave, how many are right, of which classes."""
    if not quality:
        return None
    figure, axes = canvas(4.6, 3.1)
    plots.kept_and_right(axes, quality)
    first = svg(figure, "labels", "Share of images kept and share right, by generation")
    names = list(quality)
    last = last_generation(params)
    open_names = names if len(names) <= SHOWN else dict.fromkeys([*names[: SHOWN - 1], last])
    panels = {name: _histogram(name, quality[name], measured[name].classes) for name in names}
    others = [panels[name] for name in names if name not in open_names]
    return section(
        "pseudo-labels",
        "Pseudo-labels",
        tag(
            "p",
            "What each student was told of the unlabelled images by its teacher",
            "."
            if quality[last if last in quality else names[0]].right is None
            else ", held against the truth, which no training saw.",
        ),
        tag("div", first, [panels[name] for name in open_names], cls="panels"),
        fold(counted(len(others), "other generation"), tag("div", others, cls="panels"))
        if others
        else None,
        _quality_table(params, quality),
    )


def _histogram(name: str, found: LabelQuality, classes: list[str]) -> Html:
    figure, axes = canvas(4.6, 3.1)
    plots.class_histogram(axes, found, classes)
    axes.set_title(name, loc="right", fontweight="bold")
    return svg(figure, f"classes-{name}", f"Classes of the pseudo-labels of {name}")


def _quality_table(params: Params, quality: dict[str, LabelQuality]) -> Html:
    head = ["student", "labelled by", "kept", "right", "images", "after balancing"]
    rows = [
        [
            tag("strong", name),
            params.parent(name),
            percent(found.kept_share),
            "not known" if found.accuracy is None else percent(found.accuracy),
            f"{found.images.sum():,}",
            f"{found.rows:,}",
        ]
        for name, found in quality.items()
    ]
    return table(head, rows, left=2)
