"""The CSV files that DVC plots: one fact a row."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from pipeline.core import files
from pipeline.networks import checkpoint
from pipeline.report.label_quality import LabelQuality
from pipeline.report.measure import Measured

MOST = 5000  # pixels in a confusion table


def write(
    folder: Path, measured: dict[str, Measured], quality: dict[str, LabelQuality], ships: str
) -> None:
    """Write `models.csv`, `curves.csv`, `pseudo_labels.csv`, and `confusion.csv` of the model that
    ships."""
    _csv(folder / "models.csv", ["model", "split", "accuracy", "low", "high"], _models(measured))
    _csv(folder / "curves.csv", ["model", "step", "curve", "value"], _curves(measured))
    header = ["model", "split", "actual", "predicted"]
    _csv(folder / "confusion.csv", header, _confusion(ships, measured[ships]))
    header = ["generation", "class", "rows"]
    _csv(folder / "pseudo_labels.csv", header, _pseudo_labels(measured, quality))


def _models(measured: dict[str, Measured]) -> Iterable[tuple]:
    for name, model in measured.items():
        for split, answers in model.answers.items():
            values = (answers.value, *answers.interval)
            yield name, split, *(f"{value:.6f}" for value in values)


def _curves(measured: dict[str, Measured]) -> Iterable[tuple]:
    for name, model in measured.items():
        for row in checkpoint.load_curves(Path("models") / name, model.card):
            step = row.pop("step")
            there = {curve: value for curve, value in row.items() if value}
            yield from ((name, step, curve, f"{float(v):.6g}") for curve, v in there.items())


def _confusion(name: str, model: Measured) -> Iterable[tuple]:
    """One line an image, as DVC's confusion template wants it: on test where it was read; of pixels
    one for each of `MOST`, evenly spread."""
    answers = model.shown
    step = 1 if answers.unit == "image" else -(-answers.labels.numel() // MOST)
    pairs = (t.flatten()[::step].tolist() for t in (answers.labels, answers.logits.argmax(1)))
    for actual, predicted in zip(*pairs):
        yield name, model.split, model.classes[actual], model.classes[predicted]


def _pseudo_labels(
    measured: dict[str, Measured], quality: dict[str, LabelQuality]
) -> Iterable[tuple]:
    for name, labels in quality.items():
        for label, rows in zip(measured[name].classes, labels.per_class.tolist()):
            yield name, label, rows


def _csv(path: Path, header: list[str], rows: Iterable[tuple]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    files.write_text(path, text.getvalue())
