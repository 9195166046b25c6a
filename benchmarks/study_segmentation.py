"""A class for each pixel: what a small student learns of a teacher, and what it reaches alone.

Real digits on canvases of 16x16 pixels (`digit_scenes`), eight classes and the background, ten
images with masks for each digit. The teacher learns from these. `alone` is the student from them,
`kd` learns each pixel's answer from the teacher, `structured` pairs of places and the whole answer
as well; both see unlabelled images too, which is what a teacher is good for, and `labelled` is
`kd` on the images with masks alone. All students make equal steps of equal batches. `alone` has
three learning rates, of which val chooses on other seeds, and all students have that one; `kd` has
three temperatures, `structured` three weights of its pixels.

`python -m benchmarks.study_segmentation` (`make study-segmentation`) continues
`results/*segmentation.csv` and prints the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.continual import Row, cell
from benchmarks.search import Block
from benchmarks.study import DIGITS_PARAMS, Study, run

SEARCH, CLAIMS = range(2), range(820, 830)
RATES = (0.1, 0.2, 0.4)
METHODS: dict[str, list[dict[str, Any]]] = {
    "kd": [{"kd": {"temperature": temperature}} for temperature in (1.0, 2.0, 4.0)],
    "structured": [{"structured": {"pixel": pixel}} for pixel in (1.0, 3.0, 10.0)],
}
STUDENT = {"network": "small_cnn", "width": 0.5}
STEPS, BATCH = 500, 48  # images of a step, of which a third has masks where others are seen too
SCENES = {
    "data.source": "digit_scenes",
    "data.labels_per_class": 10,
    "training.labelled_view": "strong",
    "training.num_ops": 1,
    "training.magnitude": 5,
    "training.shift": 2,
    "training.ema": 0.99,
    "training.warmup_steps": 20,
    "training.evaluate_every": 100,
    "labels.balance": "none",
    "labels.share": 1.0,
    "labels.threshold": 0.0,
}
TEACHER = {
    "network": "small_cnn",
    "training": {"steps": 500, "batch_size": 32, "learning_rate": 0.2},
}


def recipe(rate: float, labelled: bool) -> Block:
    """A student's keys of `training`."""
    sizes = {"batch_size": BATCH, "unlabelled_ratio": 1} if labelled else {}
    return {"steps": STEPS, "learning_rate": rate, **sizes}


def alone(rate: float) -> Block:
    """The student from masks."""
    return {**STUDENT, "methods": {}, "training": recipe(rate, labelled=True)}


def taught(methods: Mapping[str, Any], rate: float, images: str = "all") -> Block:
    """The student of the teacher."""
    training = recipe(rate, images == "labelled")
    own = {"teacher": "teacher", "methods": dict(methods), "images": images}
    return {**STUDENT, **own, "training": training}


def study(kind: str, models: Mapping[str, Block], seeds: range, test: bool) -> Study:
    """One arm that has all models.

    Args:
        kind: `tune_rates_`, `tune_` or none, of the CSV.
    """
    blocks: dict[str, Any] = {"baselines": {}, "distilled": {}}
    for name, own in models.items():
        blocks["distilled" if "teacher" in own else "baselines"][name] = own
    arm = {
        "teacher": TEACHER,
        **dict.fromkeys(("generations", "tasks", "meta_pseudo_labels"), {}),
        **blocks,
        **SCENES,
        "training.batch_size": BATCH // 3,
        "training.unlabelled_ratio": 2,
        "final": "teacher",
        "report.register": False,
    }
    names = ["teacher", *models]
    whats = ["val_miou", *(["miou", "acc"] if test else []), "images_seen"]
    columns = [f"{what}/{name}" for what in whats for name in names]
    columns += [f"num_parameters/{name}" for name in names] + ["seconds"]
    return Study(f"{kind}segmentation", {"all": arm}, seeds, columns, test, DIGITS_PARAMS)


def choose_rate() -> float:
    """Of the student alone, by val."""
    tried = {f"alone-{number}": alone(rate) for number, rate in enumerate(RATES)}
    return RATES[_best("alone", run(study("tune_rates_", tried, SEARCH, test=False)))]


def choose(rate: float) -> dict[str, dict[str, Any]]:
    """Of each method the candidate with the highest mean on val."""
    tried = {
        f"{name}-{number}": taught(methods, rate)
        for name, many in METHODS.items()
        for number, methods in enumerate(many)
    }
    rows = run(study("tune_", tried, SEARCH, test=False))
    return {name: many[_best(name, rows)] for name, many in METHODS.items()}


def _best(name: str, rows: Sequence[Row]) -> int:
    means = [np.mean(_values(rows, f"val_miou/{name}-{number}")) for number in range(3)]
    print(f"{name}: {np.round(100 * np.array(means), 1)}", flush=True)
    return int(np.argmax(means))


def table(rows: Sequence[Row], names: Sequence[str]) -> str:
    """A line a model: weights, mean IoU, how far it is ahead of the student alone."""
    lines = ["| | weights | test mIoU, % | val mIoU, % | pixels right, % | - alone |"]
    lines.append("|---" * 6 + "|")
    for name in names:
        test, val, acc = (_values(rows, f"{what}/{name}") for what in ("miou", "val_miou", "acc"))
        more = cell(test - _values(rows, "miou/alone"), "+")
        weights = f"{_values(rows, f'num_parameters/{name}')[0]:,.0f}"
        cells = [name, weights, cell(test), cell(val), cell(acc), "" if name == "alone" else more]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _values(rows: Sequence[Row], column: str) -> np.ndarray:
    return np.array([float(row[column]) for row in rows])


def models(rate: float, chosen: Mapping[str, dict[str, Any]]) -> dict[str, Block]:
    """All models of the claims but the teacher."""
    return {
        "alone": alone(rate),
        "labelled": taught(chosen["kd"], rate, images="labelled"),
        **{name: taught(methods, rate) for name, methods in chosen.items()},
    }


def main() -> None:
    """Run what is missing and print the table."""
    rate = choose_rate()
    chosen = choose(rate)
    print(f"learning rate {rate}, {chosen}", flush=True)
    made = models(rate, chosen)
    rows = run(study("", made, CLAIMS, test=True))
    print(f"\nn = {len(rows)}\n\n{table(rows, ['teacher', *made])}", flush=True)


if __name__ == "__main__":
    main()
