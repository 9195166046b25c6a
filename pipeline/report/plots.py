"""What is drawn with axes: each function draws one thing."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from pipeline.networks import checkpoint
from pipeline.pages.formats import short, short_number
from pipeline.report.figures import BLUE, INK, ORANGE, TEAL, style
from pipeline.report.label_quality import LabelQuality
from pipeline.report.measure import Measured

NAMED = 20  # so many classes have their names on an axis and their numbers in the cells
Curve = dict[str, list[float]]  # a column of curves.csv each
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")
SPLITS = {"val": {"color": BLUE, "fmt": "o"}, "test": {"color": ORANGE, "fmt": "s"}}
NO_PART = ("learning_rate", "val_acc", "val_loss", "loss")  # of the teacher's loss


def legend_above(axes, columns: int, **options) -> None:
    """A legend over the axes, from their left."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, **options)


def accuracy_height(measured: dict[str, Measured]) -> float:
    """Inches that `accuracy` needs."""
    return 1.1 + 0.42 * len(measured)


def accuracy(axes, measured: dict[str, Measured]) -> None:
    """Every model a row, oldest at the top: accuracy with its 95 % interval, on each split."""
    splits = list(next(iter(measured.values())).answers)
    for number, split in enumerate(splits):
        answers = [model.answers[split] for model in measured.values()]
        place = np.arange(len(answers)) + 0.24 * (number - (len(splits) - 1) / 2)
        share = np.array([a.value for a in answers])
        low, high = np.array([a.interval for a in answers]).T
        bars = {"xerr": 100 * np.abs([share - low, high - share]), "capsize": 2.5, "markersize": 5}
        axes.errorbar(100 * share, place, label=split, **bars, **SPLITS[split])
    rows = [f"{short(name, 18)}\n{len(m.classes)} classes" for name, m in measured.items()]
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(f"{answers[0].measure}, % (95 % intervals)")
    axes.grid(axis="y", visible=False)
    if len(splits) > 1:
        legend_above(axes, 2, borderpad=0)


def sizes(axes, measured: dict[str, Measured], taught: Sequence[tuple[str, str]]) -> None:
    """Accuracy over weights, a point a model, a line from each teacher to its student.

    Args:
        taught: teachers and their students, those whose lines are drawn.
    """
    place = {name: (m.card["num_parameters"], 100 * m.shown.value) for name, m in measured.items()}
    for pair in taught:
        ends = [place[name] for name in pair if name in place]
        axes.plot(*zip(*ends), color=INK, linewidth=0.8, alpha=0.5)
    students = {student for _, student in taught}
    for number, (name, (weights, share)) in enumerate(place.items()):
        low, high = (100 * end for end in measured[name].shown.interval)
        colour = ORANGE if name in students else BLUE
        bars = {"yerr": [[share - low], [high - share]], "capsize": 2.5, "markersize": 5}
        axes.errorbar(
            [weights], [share], fmt="s" if name in students else "o", color=colour, **bars
        )
        above = (6, -11) if number % 2 else (6, 4)  # a parent and its child are often of one size
        axes.annotate(
            short(name, 18), (weights, share), above, textcoords="offset points", fontsize=8.5
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: short_number(number)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.15)
    axes.set_xlabel("weights")
    axes.set_ylabel(f"{next(iter(measured.values())).shown.measure}, %")


def curve(card: dict) -> Curve:
    """The learning curves of the model with that card, as its training wrote them; `nan` where a
    phase (a clean end) has no such loss."""
    rows = checkpoint.load_curves(Path("models") / card["name"], card)
    return {key: [float(row[key] or "nan") for row in rows] for key in (rows[0] if rows else ())}


def loss(axes, curves: dict[str, Curve]) -> None:
    """Training loss over the steps, on a logarithmic scale."""
    _models(axes, curves, "loss")
    axes.set(xlabel="step", ylabel="training loss", yscale="log")
    axes.yaxis.set_major_formatter(PLAIN)
    axes.yaxis.set_minor_formatter(NullFormatter())


def val_accuracy(axes, curves: dict[str, Curve]) -> None:
    """Val accuracy, of pixels the mean IoU, over the steps."""
    dense = any("val_miou" in curve for curve in curves.values())
    _models(axes, curves, "val_miou" if dense else "val_acc", 100)
    axes.set(xlabel="step", ylabel=f"val {'mean IoU' if dense else 'accuracy'}, %")


def tasks_over_time(axes, curve: Curve, tasks: Sequence[str]) -> None:
    """Val accuracy on each task while the last one is learnt."""
    for number, task in enumerate(tasks):
        values = 100 * np.array(curve.get(f"val_acc/{task}", []))
        _line(axes, number, curve["step"], values, short(task, 12))
    axes.set(xlabel="step", ylabel="val accuracy, %", ylim=(0, 102))
    legend_above(axes, min(len(tasks), 5), columnspacing=1.2)


def _models(axes, curves: dict[str, Curve], key: str, scale: float = 1.0) -> None:
    lines = {name: scale * np.array(curve.get(key, [])) for name, curve in curves.items()}
    for number, (name, values) in enumerate(lines.items()):
        steps = curves[name]["step"] if len(values) else []  # one that is brought has no loss
        _line(axes, number, steps, values, short(name, 9))
    legend_above(axes, min(len(curves), 5), columnspacing=1.2)


def _line(axes, number: int, steps, values, label: str | None = None) -> None:
    marker = "o" if len(steps) < 3 else None  # a line of one point is invisible
    axes.plot(steps, values, label=label, marker=marker, **style(number))


def feedback(axes, curve: Curve) -> None:
    """The mean feedback between two evaluations: above zero the student's steps went downhill."""
    axes.axhline(0, color=INK, linewidth=0.8, alpha=0.5)
    _line(axes, 0, curve["step"], curve["feedback"])
    axes.set(xlabel="step", ylabel="feedback, nats a step")


def agreement(axes, curve: Curve) -> None:
    """How often the feedback is above zero, and how often student and teacher agree."""
    _shares(axes, curve, {"feedback_positive": "feedback > 0", "agreement": "both agree"})
    axes.set(xlabel="step", ylabel="steps or images, %", ylim=(-3, 103))


def both_accuracies(axes, curve: Curve) -> None:
    """Val accuracy of a student, its clean end too, and of its teacher."""
    _shares(axes, curve, {"val_acc": "student", "teacher/val_acc": "teacher"})
    axes.set(xlabel="step", ylabel="val accuracy, %")


def _shares(axes, curve: Curve, named: dict[str, str]) -> None:
    for number, (key, label) in enumerate(named.items()):
        _line(axes, number, curve["step"], 100 * np.array(curve[key]), label)
    legend_above(axes, 2, columnspacing=1.2)


def teachers_losses(axes, curve: Curve) -> None:
    """What the teacher descends apart from the feedback."""
    names = [key.removeprefix("teacher/") for key in curve if key.startswith("teacher/")]
    for number, name in enumerate(name for name in names if name not in NO_PART):
        _line(axes, number, curve["step"], curve[f"teacher/{name}"], name)
    axes.set(xlabel="step", ylabel="teacher's loss, nats")
    axes.yaxis.set_major_formatter(PLAIN)
    legend_above(axes, 3, columnspacing=1.2)


def class_histogram(axes, quality: LabelQuality, classes: Sequence[str]) -> None:
    """Pseudo-labelled images of each class: right, wrong, and the repeats that fill up."""
    base = np.zeros(len(classes), dtype=int)
    for label, count, paint in _layers(quality):
        if len(classes) <= NAMED:
            axes.bar(range(len(classes)), count, 0.8, base, label=label, linewidth=0, **paint)
        else:  # one shape in place of hundreds of bars
            edges = np.arange(len(classes) + 1) - 0.5
            axes.stairs(base + count, edges, baseline=base, fill=True, label=label, **paint)
        base = base + count
    name_classes(axes.xaxis, classes)
    axes.grid(axis="x", visible=False)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_ylim(0, 1.06 * max(1, np.maximum(quality.images, quality.per_class).max()))
    order = "" if len(classes) <= NAMED else f", {len(classes)} classes in their order"
    axes.set(xlabel=f"labelled as{order}", ylabel=f"{quality.unit}s")
    legend_above(axes, 3, borderpad=0)


def _layers(quality: LabelQuality) -> list[tuple[str, np.ndarray, dict]]:
    """From the bottom up: name, images of each class, how to paint them."""
    wrong, unknown = quality.known - quality.right, quality.images - quality.known
    layers = []
    if quality.num_known:
        layers = [("right", quality.right, {"color": BLUE}), ("wrong", wrong, {"color": ORANGE})]
    if unknown.any():
        layers.append(("not known", unknown, {"color": TEAL}))
    repeats = np.maximum(quality.per_class - quality.images, 0)
    if repeats.any():
        layers.append(("repeats", repeats, {"color": INK, "alpha": 0.18}))
    return layers


def kept_and_right(axes, quality: dict[str, LabelQuality]) -> None:
    """Of each generation's pseudo-labels: the share kept, and of those the share right."""
    place, names = range(len(quality)), [short(name, 12) for name in quality]
    kept = [100 * labels.kept_share for labels in quality.values()]
    axes.plot(place, kept, marker="o", label="kept, of the unlabelled", **style(0))
    known = {i: q.accuracy for i, q in enumerate(quality.values()) if q.accuracy is not None}
    if known:
        right = [100 * share for share in known.values()]
        every = all(q.num_known == q.images.sum() for q in quality.values())
        whom = "of the kept" if every else "where known"
        axes.plot(list(known), right, marker="s", label=f"right, {whom}", **style(1))
    axes.set_xticks(place, names, rotation=90 if len(names) > 8 else 0)
    axes.set(ylabel=f"{next(iter(quality.values())).unit}s, %", ylim=(0, 104))
    axes.set_xlim(-0.5, len(quality) - 0.5)
    axes.legend(loc="lower left")


def name_classes(axis, classes: Sequence[str]) -> None:
    """Class names as ticks, upright where they are long; none where they are too many."""
    if len(classes) > NAMED:
        axis.set_ticks([])
        return
    names = [short(name, 16) for name in classes]
    axis.set_ticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 2 else 0)
