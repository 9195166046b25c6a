"""Dropout against forgetting (Goodfellow et al. 2013, arXiv:1312.6211): plain fine-tuning on a task
B of a model of a task A, both trained with dropout or both without, at learning rates from one that
learns B to one that keeps A: the frontier of old against new, a head each, the task known.

Dropout is before the classifier, of half of the features. `python -m benchmarks.study_dropout`
(`make study-dropout`) continues the ten seeds from 100 on in `results/dropout_digits.csv` and
prints the frontier, with `--images <folder>` that of CIFAR-10 too; `--figures <folder>` draws it.
Nothing is chosen but, at each seed, the rate at which an arm does best on val.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.continual import CLAIMS, Pair, Row, Task, cell, options, pairs
from benchmarks.study import Study, run

STEPS = 200  # of CIFAR-10, so that the study fits into an hour of two cores
RATES = [0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002]
DROPOUT = {"off": 0.0, "on": 0.5}
A, B, VAL = "task_acc/{}/base", "task_acc/{0}/{0}", "val_task_mean/{}"
Frontier = Mapping[str, Sequence[Row]]


def task(rate: float) -> str:
    """The name of the task that is learnt at a rate."""
    return f"r{1000 * rate:g}"


def study(pair: Pair) -> Study:
    """A chain of all rates with and without dropout."""
    tasks: dict[str, Task] = {task(rate): {"training": {"learning_rate": rate}} for rate in RATES}
    columns = ["acc/teacher", *(what.format(name) for name in tasks for what in (A, B, VAL))]
    made = pair.study("dropout", tasks, columns, CLAIMS, test=True)
    (common,) = made.arms.values()
    arms = {arm: common | {"training.dropout": rate} for arm, rate in DROPOUT.items()}
    return Study(made.name, arms, made.seeds, made.columns, made.test, made.params)


def table(by_arm: Frontier) -> str:
    """Old and new at every rate, and their mean where val says it is best."""
    lines = ["| rate | off: A | off: B | on: A | on: B |", "|---" * 5 + "|"]
    for rate in RATES:
        name = task(rate)
        cells = [cell(_values(by_arm[arm], what, name)) for arm in DROPOUT for what in (A, B)]
        lines.append(f"| {rate:g} | {' | '.join(cells)} |")
    best = {arm: np.array([_best(row) for row in by_arm[arm]]) for arm in DROPOUT}
    for number, what in enumerate(("A", "B", "mean of A and B")):
        off, on = (best[arm][:, number] for arm in DROPOUT)
        lines.append(
            f"\nat the best rate, {what}: off {cell(off)}, on {cell(on)}, "
            f"on - off {cell(on - off, '+')}"
        )
    return "\n".join(lines)


def figure(by_arm: Frontier, images: str, folder: Path) -> None:
    """Draw the frontier."""
    from pipeline.report.figures import canvas, style

    drawn, axes = canvas(6.4, 4.2)
    for number, arm in enumerate(DROPOUT):
        old, new = (
            [100 * np.mean(_values(by_arm[arm], what, task(rate))) for rate in RATES]
            for what in (A, B)
        )
        axes.plot(old, new, marker="o", label=f"dropout {arm}", **style(number))
    axes.set(xlabel="A, %", ylabel="B, %")
    axes.legend()
    drawn.savefig(folder / f"dropout_{images}.png", dpi=110, bbox_inches="tight")


def _values(rows: Sequence[Row], what: str, name: str) -> list[float]:
    return [float(row[what.format(name)]) for row in rows]


def _best(row: Row) -> tuple[float, float, float]:
    name = max((task(rate) for rate in RATES), key=lambda name: float(row[VAL.format(name)]))
    old, new = (float(row[what.format(name)]) for what in (A, B))
    return old, new, (old + new) / 2


if __name__ == "__main__":
    given = options(__doc__)
    for pair in pairs("task", given.images, STEPS):
        made = study(pair)
        rows = run(made)
        by_arm = {arm: [row for row in rows if row["arm"] == arm] for arm in DROPOUT}
        print(pair.images, "\n" + table(by_arm))
        if given.figures:
            figure(by_arm, pair.images, given.figures)
