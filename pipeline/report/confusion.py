"""What is taken for what: confusion matrices, and the accuracy of each class in every model."""

from __future__ import annotations

import base64
import io

import numpy as np

from pipeline.networks import evaluate
from typing import Any as Params
from pipeline.report.gate import Verdict
from pipeline.report.headline import last_generation, last_split
from pipeline.report.markup import Html, counted, fold, percent, section, short, tag
from pipeline.report.measure import Measured
from pipeline.report.plots import NAMED

RIGHT, WRONG = (47, 134, 209), (217, 115, 13)  # the blue and the orange of the drawings
MOST_PAINT = 0.7  # of a cell, so that ink is read on it in dark and light
HARDEST = 12  # classes shown at first where there are too many for a table


def confusion(params: Params, measured: dict[str, Measured], verdict: Verdict) -> Html:
    """The last generation, the candidate and what ships; the others folded."""
    chosen = dict.fromkeys([last_generation(params), params.final, verdict.ships])
    others = [name for name in measured if name not in chosen]
    wide = any(12 < len(model.classes) <= NAMED for model in measured.values())
    style = "panels one" if wide else "panels"
    return section(
        "confusion",
        "What is taken for what",
        tag(
            "p",
            "A row is a true class, a column the answer; paint is the share of the row: ",
            tag("span", "right", cls="key right"),
            " on the diagonal, ",
            tag("span", "wrong", cls="key wrong"),
            " beside it.",
        ),
        tag("div", (_one(name, measured[name]) for name in chosen), cls=style),
        fold(
            counted(len(others), "other model"),
            tag("div", (_one(name, measured[name]) for name in others), cls=style),
        )
        if others
        else None,
    )


def _one(name: str, model: Measured) -> Html:
    split = last_split(model)
    seen, classes = model.seen[split], model.classes
    counts = evaluate.confusion(seen.logits, seen.labels, len(classes))
    draw = _cells if len(classes) <= NAMED else _picture
    title = tag("h3", name, tag("span", f" on {counted(len(seen.labels), f'{split} image')}"))
    return tag("div", title, draw(counts, classes), _mistakes(counts, classes))


def _shares(counts: np.ndarray) -> np.ndarray:
    """Of each true class, 0..1; zero where it has no image."""
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def _cells(counts: np.ndarray, classes: list[str]) -> Html:
    share = _shares(counts)
    head = tag("tr", tag("th"), (tag("th", tag("span", c), title=c) for c in classes))
    rows = [
        tag(
            "tr",
            tag("th", tag("span", true), title=true),
            (
                cell(
                    counts[i, j] or None,
                    share[i, j],
                    RIGHT if i == j else WRONG,
                    f"{true} taken for {said}: {counts[i, j]} ({percent(share[i, j])})"
                    if counts[i, j]
                    else None,
                )
                for j, said in enumerate(classes)
            ),
        )
        for i, true in enumerate(classes)
    ]
    upright = max(map(len, classes)) > 3
    style = "heat upright" if upright else "heat"
    return tag("div", tag("table", head, rows, cls=style), cls="scroll")


def cell(text: object, share: float, colour: tuple[int, int, int], told: str | None = None) -> Html:
    """A table cell painted by a share; small shares keep a trace that can be seen."""
    paint = None
    if share > 0:
        alpha = 0.1 + (MOST_PAINT - 0.1) * share
        paint = f"background:rgba({','.join(map(str, colour))},{alpha:.2f})"
    return tag("td", text, style=paint, title=told)


def _picture(counts: np.ndarray, classes: list[str]) -> Html:
    """A pixel a cell, see-through, so that it lies on dark and light."""
    from PIL import Image

    share = _shares(counts)
    pixels = np.zeros((*counts.shape, 4), dtype=np.uint8)
    pixels[..., :3] = np.where(np.eye(len(counts), dtype=bool)[..., None], RIGHT, WRONG)
    pixels[..., 3] = np.where(share > 0, 255 * (0.25 + 0.75 * share), 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    source = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return tag(
        "figure",
        tag("img", src=source, alt=f"confusion of {len(classes)} classes", cls="pixels matrix"),
        tag(
            "figcaption",
            f"From {short(classes[0], 24)} to {short(classes[-1], 24)}: true downwards, answer "
            "across.",
        ),
    )


def _mistakes(counts: np.ndarray, classes: list[str], most: int = 5) -> Html | None:
    """The commonest mistakes in words."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [divmod(int(flat), len(classes)) for flat in order if wrong.flat[flat]]
    if not pairs:
        return tag("p", "No mistake.", cls="note")
    shown = (
        tag(
            "span", f"{short(classes[i], 18)} → {short(classes[j], 18)} ({wrong[i, j]})", cls="pair"
        )
        for i, j in pairs
    )
    return tag("p", "Most often: ", [[item, " "] for item in shown], cls="note")


def by_class(measured: dict[str, Measured], ships: str) -> Html:
    """Accuracy of each class, a column a model."""
    names = list(dict.fromkeys(c for model in measured.values() for c in model.classes))
    shares = {name: class_accuracy(model) for name, model in measured.items()}
    model = measured[ships]
    split = last_split(model)
    count = np.bincount(model.seen[split].labels.numpy(), minlength=len(model.classes))
    images = dict(zip(model.classes, count.tolist()))

    def row(name: str) -> Html:
        cells = [_class_cell(name, of, found.get(name)) for of, found in shares.items()]
        number = tag("td", images.get(name, "–"))
        return tag("tr", tag("th", tag("span", name), title=name), number, cells)

    known = shares[ships]
    hardest = sorted(names, key=lambda name: (np.nan_to_num(known.get(name, 2), nan=2), name))
    first = names if len(names) <= NAMED else hardest[:HARDEST]
    head = tag("tr", tag("th", "class"), tag("th", "images"), (_head(m) for m in measured))

    def whole(shown: list[str]) -> Html:
        return tag("div", tag("table", head, map(row, shown), cls="heat rates"), cls="scroll")

    return section(
        "classes",
        "Accuracy of each class",
        tag(
            "p",
            f"Share of each class's {split} images that is right, in %. ",
            None if first is names else f"These are the {HARDEST} that {ships} finds hardest.",
            " An empty cell is a class that the model does not know."
            if len({tuple(model.classes) for model in measured.values()}) > 1
            else None,
        ),
        whole(first),
        None if first is names else fold(f"All {len(names)} classes", whole(names)),
    )


def _head(name: str) -> Html:
    return tag("th", tag("span", name), title=name)


def class_accuracy(model: Measured) -> dict[str, float]:
    """Share right of each class, 0..1, on the last split; `nan` without images."""
    seen = model.seen[last_split(model)]
    labels = seen.labels.numpy()
    size = len(model.classes)
    with np.errstate(invalid="ignore"):
        share = np.bincount(labels, seen.right, size) / np.bincount(labels, minlength=size)
    return dict(zip(model.classes, share.tolist()))


def _class_cell(name: str, model: str, share: float | None) -> Html:
    if share is None:
        return tag("td")
    if np.isnan(share):
        return tag("td", "–", title=f"{model}: no image of {name}")
    return cell(f"{100 * share:.0f}", share, RIGHT, f"{model} on {name}: {percent(share)}")
