"""Six ways to learn a task B on a model of a task A: what is left of A, and what is learnt of B.

The arms are fine-tuning (`baseline`), Elastic Weight Consolidation and distillation (Learning
without Forgetting), each at the recipe's learning rate and at a tenth of it (`_low`). One head
grows, the cross-entropy ranges over all classes, and the old units go on learning. Each method's
weight is chosen on val, of four, by the mean score over seeds 0 to 2, at the rate where it is used.

`python -m benchmarks.study_forgetting` continues the search and `results/study_forgetting.csv` on
the digits (A: 0 to 4, B: 5 to 9), seeds from 100, and prints the table; with `--figures <folder>`
it draws three: A and B over the steps, and both at the end.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.study import Study, mean_interval, run

A, B = ["0", "1", "2", "3", "4"], ["5", "6", "7", "8", "9"]
RATES = {"": 0.05, "_low": 0.005}
WEIGHTS = {"ewc": [1, 10, 100, 1000], "lwf": [0.5, 1, 3, 10]}
NAMES = ["baseline", "ewc", "lwf"]
ARMS = [name + rate for rate in RATES for name in NAMES]


def task(methods: Mapping[str, Any], rate: float) -> dict:
    """An arm."""
    return {
        "base": "teacher",
        "data": {"root": "data/digits"},
        "scenario": "class",
        "classes": B,
        "labels_per_class": 30,
        "ce_over": "all",
        "methods": methods,
        "training": {"learning_rate": rate, "evaluate_every": 20},
    }


def methods(name: str, weight: float) -> dict:
    """Of an arm: the baseline has none."""
    if name == "baseline":
        return {}
    return {name: {"weight": float(weight)} | ({"warmup_steps": 0} if name == "lwf" else {})}


def study(name: str, tasks: dict[str, dict], columns: list[str], seeds: range, test: bool) -> Study:
    """A teacher of A, and tasks that extend it."""
    changes = {
        "data.classes": A,
        "data.labels_per_class": 30,
        "generations": {},
        "tasks": tasks,
        "final": "teacher",
        "report.register": False,
    }
    return Study(name, {"default": changes}, seeds, columns, test)


def search() -> Study:
    """Every weight at either rate, on val."""
    tasks = {
        f"{name}{rate}-{number}": task(methods(name, weight), value)
        for name, weights in WEIGHTS.items()
        for rate, value in RATES.items()
        for number, weight in enumerate(weights)
    }
    columns = [f"val_score/{name}" for name in tasks]
    return study("tune_forgetting", tasks, columns, range(3), test=False)


def chosen() -> dict[str, float]:
    """The weight of each arm."""
    table = run(search())
    best = {}
    for name, weights in WEIGHTS.items():
        for rate in RATES:
            scores = [
                np.mean([float(row[f"val_score/{name}{rate}-{n}"]) for row in table])
                for n in range(len(weights))
            ]
            best[name + rate] = weights[int(np.argmax(scores))]
    return best


def claims(weights: Mapping[str, float]) -> Study:
    """The arms with the weights that the search chose."""
    tasks = {
        name + rate: task(methods(name, weights.get(name + rate, 0)), value)
        for name in NAMES
        for rate, value in RATES.items()
    }
    what = ["acc/{}", "task_acc/{}/base", "task_acc/{0}/{0}", "val_score/{}", "val_score_old/{}"]
    columns = [w.format(arm) for arm in ARMS for w in [*what, "val_score_new/{}", "curve/{}"]]
    return study("study_forgetting", tasks, columns, range(100, 110), test=True)


def table(rows: list[dict[str, str]], weights: Mapping[str, float]) -> str:
    """Score and its halves on val at the best moment, A, B and both on test at the end, in %."""
    text = ["| arm | weight | score | score A | score B | A, test | B, test | all, test |"]
    text.append("|---" * 8 + "|")
    keys = ["val_score/{}", "val_score_old/{}", "val_score_new/{}"]
    keys += ["task_acc/{}/base", "task_acc/{0}/{0}", "acc/{}"]
    for arm in ARMS:
        cells = [_cell([float(row[key.format(arm)]) for row in rows]) for key in keys]
        text.append(f"| {arm} | {weights.get(arm, '')} | {' | '.join(cells)} |")
    return "\n".join(text)


def _cell(values: list[float]) -> str:
    mean, half = mean_interval(100 * np.array(values))
    return f"{mean:.1f} ± {half:.1f}"


def figures(rows: list[dict[str, str]], folder: Path) -> None:
    """Draw A and B over the steps, and A against B at the end: means over seeds."""
    from pipeline.report.figures import canvas, style

    drawn = {"a": "base", "b": None, "frontier": ""}
    for name, which in drawn.items():
        figure, axes = canvas(6.4, 4.2)
        for number, arm in enumerate(ARMS):
            curves = [json.loads(row[f"curve/{arm}"]) for row in rows]
            old, new = (
                100 * np.mean([curve[f"val_acc/{t}"] for curve in curves], axis=0)
                for t in ("base", arm)
            )
            if name == "frontier":
                axes.plot(old[-1:], new[-1:], "o", label=arm, **style(number))
            else:
                axes.plot(curves[0]["step"], old if which else new, label=arm, **style(number))
        labels = ("A, %", "B, %") if name == "frontier" else ("step", f"{name.upper()}, %")
        axes.set(xlabel=labels[0], ylabel=labels[1])
        axes.legend()
        figure.savefig(folder / f"forgetting_{name}.png", dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figures", type=Path)
    given = parser.parse_args()
    weights = chosen()
    print(weights, flush=True)
    made = run(claims(weights))
    print(table(made, weights))
    if given.figures:
        figures(made, given.figures)
