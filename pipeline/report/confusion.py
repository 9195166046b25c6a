"""What is taken for what: confusion matrices, and the accuracy of each class in every model."""

import numpy as np

from pipeline.networks import evaluate
from pipeline.pages.thumbnails import png_uri
from pipeline.report.measure import Measured
from pipeline.report.plots import NAMED
from pipeline.report.results import Results

RIGHT, WRONG = (47, 134, 209), (217, 115, 13)  # the blue and the orange of page.css
HARDEST = 12  # classes shown at first where there are too many for a table
MISTAKES = 5  # in words


def confusion(results: Results) -> dict:
    """The last generation, the candidate and what ships; the others folded."""
    last, final = results.experiment.last_generation, results.lineage.final
    chosen = list(dict.fromkeys([last, final, results.ships]))
    measured = results.measured
    return {
        "wide": any(12 < len(model.classes) <= NAMED for model in measured.values()),
        "chosen": [_matrix(name, measured[name]) for name in chosen],
        "others": [_matrix(name, measured[name]) for name in measured if name not in chosen],
    }


def _matrix(name: str, model: Measured) -> dict:
    answers, classes = model.shown, model.classes
    counts = evaluate.confusion(answers.logits, answers.labels, len(classes))
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)  # of the true class
    return {
        "name": name,
        "split": model.split,
        "num": answers.labels.numel(),
        "unit": answers.unit,
        "classes": classes,
        "upright": max(map(len, classes)) > 3,
        "counts": counts.tolist(),
        "share": share.tolist(),
        "picture": None if len(classes) <= NAMED else _picture(share),
        "mistakes": [(classes[i], classes[j], n) for i, j, n in mistakes(counts)],
    }


def _picture(share: np.ndarray) -> str:
    """A pixel a cell, see-through, so that it lies on dark and light."""
    picture = np.zeros((*share.shape, 4), dtype=np.uint8)
    picture[..., :3] = np.where(np.eye(len(share), dtype=bool)[..., None], RIGHT, WRONG)
    picture[..., 3] = np.where(share > 0, 255 * (0.25 + 0.75 * share), 0)
    return png_uri(picture)


def mistakes(counts: np.ndarray) -> list[tuple[int, int, int]]:
    """The commonest: true class, answer, images."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MISTAKES]
    cells = [divmod(int(place), len(counts)) for place in order if wrong.flat[place]]
    return [(i, j, int(wrong[i, j])) for i, j in cells]


def by_class(results: Results) -> dict:
    """Accuracy of each class, a column a model."""
    measured = results.measured
    names = list(dict.fromkeys(c for model in measured.values() for c in model.classes))
    shares = {name: class_accuracy(model) for name, model in measured.items()}
    images = _images(measured[results.ships])
    rows = {name: (name, images.get(name), _cells(name, shares)) for name in names}
    shown = names if len(names) <= NAMED else hardest(names, shares[results.ships])
    return {
        "ships": results.ships,
        "split": results.split,
        "unit": measured[results.ships].shown.unit,
        "models": list(measured),
        "unknown": len({tuple(model.classes) for model in measured.values()}) > 1,
        "rows": [rows[name] for name in shown],
        "all_rows": None if shown is names else list(rows.values()),
    }


def hardest(names: list[str], share: dict[str, float]) -> list[str]:
    """The classes that a model is least often right about."""
    order = sorted(names, key=lambda name: (np.nan_to_num(share.get(name, 2), nan=2), name))
    return order[:HARDEST]


def class_accuracy(model: Measured) -> dict[str, float]:
    """Share right of each class, of pixels its IoU, 0..1, on the split shown; `nan` without any."""
    return dict(zip(model.classes, model.shown.by_class().tolist()))


def _images(model: Measured) -> dict[str, int]:
    return dict(zip(model.classes, model.shown.num_by_class().tolist()))


def _cells(name: str, shares: dict[str, dict[str, float]]) -> list[tuple[str, float | None]]:
    """Model and share; None for a class that the model does not know."""
    return [(model, of.get(name)) for model, of in shares.items()]
