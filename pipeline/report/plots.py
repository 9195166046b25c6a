"""The pictures beside the CSV files, for those who read without a network."""

from __future__ import annotations

import csv
from pathlib import Path

import matplotlib
import numpy as np

from pipeline import evaluate
from pipeline.report.measure import LabelQuality, Measured, interval

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 (after the backend is chosen)

plt.rcParams.update({"figure.dpi": 110, "axes.spines.top": False, "axes.spines.right": False})


def write(folder: Path, measured: dict[str, Measured], quality: dict[str, LabelQuality]) -> None:
    """Write `models.png`, `curves.png`, `confusion.png` and, with generations,
    `pseudo_labels.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    _save(folder / "models.png", models(measured))
    _save(folder / "curves.png", curves(list(measured)))
    _save(folder / "confusion.png", confusion(measured))
    if quality:
        _save(folder / "pseudo_labels.png", pseudo_labels(measured, quality))


def models(measured: dict[str, Measured]):
    """Accuracy of every model with its 95 % interval."""
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for offset, split in enumerate(next(iter(measured.values())).seen):
        place = np.arange(len(measured)) + 0.1 * (2 * offset - 1)
        seen = [model.seen[split] for model in measured.values()]
        share = np.array([s.accuracy for s in seen])
        ends = np.array([interval(s.accuracy, len(s.labels)) for s in seen])
        error = [share - ends[:, 0], ends[:, 1] - share]
        axes.errorbar(
            place,
            100 * share,
            yerr=100 * np.array(error),
            fmt="o",
            capsize=3,
            label=f"{split} ({len(seen[0].labels)} images)",
        )
    axes.set_xticks(range(len(measured)), list(measured))
    axes.set_ylabel("accuracy, %")
    axes.legend(frameon=False)
    return figure


def curves(names: list[str]):
    """Training loss and val accuracy over the steps."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for name in names:
        with open(Path("models") / name / "curves.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        steps = [int(row["step"]) for row in rows]
        left.plot(steps, [float(row["loss"]) for row in rows], label=name)
        right.plot(steps, [100 * float(row["val_acc"]) for row in rows], label=name)
    left.set(xlabel="step", ylabel="training loss", yscale="log")
    right.set(xlabel="step", ylabel="val accuracy, %")
    right.legend(frameon=False)
    return figure


def confusion(measured: dict[str, Measured]):
    """True against predicted class, a panel per model; diagonal left to the eye, counts written."""
    split = list(next(iter(measured.values())).seen)[-1]
    columns = min(3, len(measured))
    rows = -(-len(measured) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.6 * columns, 3.6 * rows), squeeze=False, layout="constrained"
    )
    for panel in axes.flat[len(measured) :]:
        panel.axis("off")
    for panel, (name, model) in zip(axes.flat, measured.items()):
        seen, size = model.seen[split], len(model.classes)
        counts = evaluate.confusion(seen.logits, seen.labels, size)
        panel.imshow(counts, cmap="Blues")
        for i, j in zip(*np.nonzero(counts)) if size <= 12 else ():
            dark = counts[i, j] > counts.max() / 2
            colour = "white" if dark else "black"
            panel.text(j, i, counts[i, j], ha="center", va="center", fontsize=7, color=colour)
        panel.set_title(f"{name}, {split}", fontsize=10)
        turn = 90 if max(map(len, model.classes)) > 2 else 0
        panel.set_xticks(range(size), model.classes, fontsize=8, rotation=turn)
        panel.set_yticks(range(size), model.classes, fontsize=8)
        panel.set(xlabel="predicted", ylabel="true")
    return figure


def pseudo_labels(measured: dict[str, Measured], quality: dict[str, LabelQuality]):
    """Rows of each class after balancing, and how good and how many the kept labels are."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    names = list(quality)
    for offset, name in enumerate(names):
        classes, width = measured[name].classes, 0.8 / len(names)
        place = np.arange(len(classes)) + (offset - (len(names) - 1) / 2) * width
        left.bar(place, quality[name].per_class, width, label=name)
        left.set_xticks(range(len(classes)), classes)
    left.set(xlabel="labelled as", ylabel="rows after balancing")
    left.legend(frameon=False)
    right.plot(names, [100 * quality[n].kept_share for n in names], "o-", label="kept")
    if all(found.accuracy is not None for found in quality.values()):
        accuracies = [100 * quality[n].accuracy for n in names]
        right.plot(names, accuracies, "s-", label="right, of the kept")
    right.set(ylabel="%", ylim=(0, 102))
    right.legend(frameon=False)
    return figure


def _save(path: Path, figure) -> None:
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)
