"""What is drawn with axes: each function draws one thing, for the page and for the PNG files."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from pipeline.networks import evaluate
from pipeline.report.figures import BLUE, INK, ORANGE, canvas, png, style
from pipeline.report.markup import short
from pipeline.report.measure import LabelQuality, Measured, interval

NAMED = 20  # so many classes have their names on an axis and their numbers in the cells
Curve = dict[str, list[float]]  # a column of curves.csv each


def write(folder: Path, measured: dict[str, Measured], quality: dict[str, LabelQuality]) -> None:
    """Write `models.png`, `curves.png`, `confusion.png` and, with generations,
    `pseudo_labels.png`."""
    figure, axes = canvas(6.4, accuracy_height(measured))
    accuracy(axes, measured)
    png(folder / "models.png", figure)
    figure, ((left, right),) = canvas(9.6, 3.6, columns=2)
    curves = {name: curve(name) for name in measured}
    loss(left, curves)
    val_accuracy(right, curves)
    png(folder / "curves.png", figure)
    png(folder / "confusion.png", confusion(measured))
    if quality:
        png(folder / "pseudo_labels.png", pseudo_labels(measured, quality))


def accuracy_height(measured: dict[str, Measured]) -> float:
    """Inches that `accuracy` needs."""
    return 1.1 + 0.42 * len(measured)


def accuracy(axes, measured: dict[str, Measured]) -> None:
    """Every model a row, oldest at the top: accuracy with its 95 % interval, on each split."""
    splits = list(next(iter(measured.values())).seen)
    looks = {"val": {"color": BLUE, "fmt": "o"}, "test": {"color": ORANGE, "fmt": "s"}}
    for number, split in enumerate(splits):
        seen = [model.seen[split] for model in measured.values()]
        place = np.arange(len(seen)) + 0.24 * (number - (len(splits) - 1) / 2)
        share = np.array([s.accuracy for s in seen])
        low, high = np.array([interval(s.accuracy, len(s.labels)) for s in seen]).T
        error = 100 * np.abs([share - low, high - share])
        axes.errorbar(
            100 * share, place, xerr=error, capsize=2.5, markersize=5, label=split, **looks[split]
        )
    rows = [f"{short(name, 18)}\n{len(m.classes)} classes" for name, m in measured.items()]
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("accuracy, % (95 % intervals)")
    axes.grid(axis="y", visible=False)
    if len(splits) > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0)


def curve(name: str) -> Curve:
    """The learning curves of a model, as its training wrote them; `nan` where a phase (a clean end)
    has no such loss."""
    with open(Path("models") / name / "curves.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {key: [float(row[key] or "nan") for row in rows] for key in (rows[0] if rows else ())}


def loss(axes, curves: dict[str, Curve]) -> None:
    """Training loss over the steps, on a logarithmic scale."""
    _lines(axes, curves, "loss")
    axes.set(xlabel="step", ylabel="training loss", yscale="log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    _legend_above(axes, curves)


def val_accuracy(axes, curves: dict[str, Curve]) -> None:
    """Val accuracy over the steps."""
    _lines(axes, curves, "val_acc", 100)
    axes.set(xlabel="step", ylabel="val accuracy, %")
    _legend_above(axes, curves)


def feedback(axes, found: Curve) -> None:
    """The mean feedback between two looks: above zero the student's steps went downhill."""
    steps = found["step"]
    axes.axhline(0, color=INK, linewidth=0.8, alpha=0.5)
    axes.plot(steps, found["feedback"], marker="o" if len(steps) < 3 else None, **style(0))
    axes.set(xlabel="step", ylabel="feedback, nats a step")


def agreement(axes, found: Curve) -> None:
    """How often the feedback is above zero, and how often student and teacher agree."""
    named = {"feedback_positive": "feedback > 0", "agreement": "both agree"}
    _shares(axes, found, named)
    axes.set(xlabel="step", ylabel="steps or images, %", ylim=(-3, 103))


def both_accuracies(axes, found: Curve) -> None:
    """Val accuracy of a student, its clean end too, and of its teacher."""
    _shares(axes, found, {"val_acc": "student", "teacher/val_acc": "teacher"})
    axes.set(xlabel="step", ylabel="val accuracy, %")


def teachers_losses(axes, found: Curve) -> None:
    """What the teacher descends beside the feedback."""
    parts = [key for key in found if key.startswith("teacher/") and _is_loss(key)]
    for number, key in enumerate(parts):
        mark = "o" if len(found["step"]) < 3 else None
        name = key.removeprefix("teacher/")
        axes.plot(found["step"], found[key], label=name, marker=mark, **style(number))
    axes.set(xlabel="step", ylabel="teacher's loss, nats")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, columnspacing=1.2)


def _is_loss(key: str) -> bool:
    others = ("learning_rate", "val_acc", "val_loss", "loss")
    return key.removeprefix("teacher/") not in others


def _shares(axes, found: Curve, named: dict[str, str]) -> None:
    mark = "o" if len(found["step"]) < 3 else None
    for number, (key, label) in enumerate(named.items()):
        values = 100 * np.array(found[key])
        axes.plot(found["step"], values, label=label, marker=mark, **style(number))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, columnspacing=1.2)


def _legend_above(axes, curves: dict[str, Curve]) -> None:
    if curves:
        columns = min(len(curves), 5)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, columnspacing=1.2)


def _lines(axes, curves: dict[str, Curve], key: str, scale: float = 1.0) -> None:
    for number, (name, found) in enumerate(curves.items()):
        steps, values = found.get("step", []), scale * np.array(found.get(key, []))
        mark = "o" if len(values) < 3 else None  # a line of one point is invisible
        axes.plot(steps, values, label=short(name, 9), marker=mark, **style(number))


def class_histogram(axes, found: LabelQuality, classes: Sequence[str]) -> None:
    """Pseudo-labelled images of each class: right, wrong, and the repeats that fill up."""
    right = found.images if found.right is None else found.right
    repeats = np.maximum(found.per_class - found.images, 0)
    layers = [("kept" if found.right is None else "right", right, {"color": BLUE})]
    if found.right is not None:
        layers.append(("wrong", found.images - right, {"color": ORANGE}))
    if repeats.any():
        layers.append(("repeats", repeats, {"color": INK, "alpha": 0.18}))
    below = np.zeros(len(classes), dtype=int)
    for label, count, look in layers:
        if len(classes) <= NAMED:
            axes.bar(range(len(classes)), count, 0.8, below, label=label, linewidth=0, **look)
        else:  # one shape in place of hundreds of bars
            edges = np.arange(len(classes) + 1) - 0.5
            axes.stairs(below + count, edges, baseline=below, fill=True, label=label, **look)
        below = below + count
    name_classes(axes.xaxis, classes)
    axes.grid(axis="x", visible=False)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_ylim(0, 1.06 * max(1, np.maximum(found.images, found.per_class).max()))
    told = "" if len(classes) <= NAMED else f", {len(classes)} classes in their order"
    axes.set(xlabel=f"labelled as{told}", ylabel="images")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderpad=0)


def kept_and_right(axes, quality: dict[str, LabelQuality]) -> None:
    """Of each generation's pseudo-labels: the share kept, and of those the share right."""
    place, names = range(len(quality)), [short(name, 12) for name in quality]
    kept = [100 * found.kept_share for found in quality.values()]
    axes.plot(place, kept, marker="o", label="kept, of the unlabelled", **style(0))
    if all(found.accuracy is not None for found in quality.values()):
        right = [100 * found.accuracy for found in quality.values()]
        axes.plot(place, right, marker="s", label="right, of the kept", **style(1))
    axes.set_xticks(place, names, rotation=90 if len(names) > 8 else 0)
    axes.set(ylabel="images, %", ylim=(0, 104))
    axes.set_xlim(-0.5, len(quality) - 0.5)
    axes.legend(loc="lower left")


def name_classes(axis, classes: Sequence[str]) -> None:
    """Class names as ticks, upright where they are long; none where they are too many."""
    if len(classes) > NAMED:
        axis.set_ticks([])
        return
    names = [short(name, 16) for name in classes]
    turn = 90 if max(map(len, names)) > 2 and axis.axis_name == "x" else 0
    axis.set_ticks(range(len(names)), names, rotation=turn)


def confusion(measured: dict[str, Measured]):
    """True against predicted class, a panel per model, with counts where they can be read."""
    split = list(next(iter(measured.values())).seen)[-1]
    columns = min(3, len(measured))
    rows = -(-len(measured) // columns)
    figure, axes = canvas(3.6 * columns, 3.6 * rows, columns, rows)
    panels = np.array(axes).reshape(-1)
    for panel in panels[len(measured) :]:
        panel.axis("off")
    for panel, (name, model) in zip(panels, measured.items()):
        seen, size = model.seen[split], len(model.classes)
        counts = evaluate.confusion(seen.logits, seen.labels, size)
        panel.imshow(counts, cmap="Blues")
        for i, j in zip(*np.nonzero(counts)) if size <= 12 else ():
            colour = "white" if counts[i, j] > counts.max() / 2 else INK
            panel.text(j, i, counts[i, j], ha="center", va="center", fontsize=7, color=colour)
        panel.grid(visible=False)
        panel.set_title(f"{short(name, 24)}, {split}")
        name_classes(panel.xaxis, model.classes)
        name_classes(panel.yaxis, model.classes)
        panel.set(xlabel="predicted", ylabel="true")
    return figure


def pseudo_labels(measured: dict[str, Measured], quality: dict[str, LabelQuality]):
    """How many and how good the kept labels are, and the classes of each generation's."""
    columns = 3
    rows = -(-(1 + len(quality)) // columns)
    figure, axes = canvas(3.6 * columns, 3 * rows, columns, rows)
    panels = np.array(axes).reshape(-1)
    kept_and_right(panels[0], quality)
    for panel, (name, found) in zip(panels[1:], quality.items()):
        class_histogram(panel, found, measured[name].classes)
        panel.set_title(name, loc="right")
    for panel in panels[1 + len(quality) :]:
        panel.axis("off")
    return figure
