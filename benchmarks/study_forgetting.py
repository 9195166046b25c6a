"""Six ways to learn a task B on a model of a task A: what is left of A, and what is learnt of B.

The arms are fine-tuning (`baseline`), Elastic Weight Consolidation and distillation (Learning
without Forgetting), each at the recipe's learning rate and at a tenth of it for four times the
steps (`_low`; in the recipe's steps it does not learn B). One head grows, answers range over all
classes, the cross-entropy of B over its own. Of each method five weights are tried on val, at the
rate where it is used, on seeds 0 to 2; the highest mean score is taken.

`python -m benchmarks.study_forgetting` (`make study-forgetting`) continues the search and the ten
seeds from 100 on in `results/*forgetting_digits.csv` and prints the table, with `--images <folder>`
those of CIFAR-10 too; `--figures <folder>` draws A and B over the steps, and both at the end.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.continual import Pair, Row, Task, difference, options, pairs, table

RECIPES = {"": {"learning_rate": 0.05}, "_low": {"learning_rate": 0.005, "steps": 1600}}
WEIGHTS = {"ewc": [10, 100, 1000, 10_000, 100_000], "lwf": [0.1, 0.5, 2, 10, 50]}
ARMS = [name + recipe for recipe in RECIPES for name in ("baseline", "ewc", "lwf")]
COLUMNS = {
    "score, val": "val_score/{}",
    "A then": "val_score_old/{}",
    "B then": "val_score_new/{}",
    "A, test": "task_acc/{}/base",
    "B, test": "task_acc/{0}/{0}",
    "all, test": "acc/{}",
    "A told": "task_acc_told/{}/base",
    "B told": "task_acc_told/{0}/{0}",
}


def candidates() -> dict[str, list[Task]]:
    """Of every arm; of the baselines there is one."""
    arms = {}
    for suffix, recipe in RECIPES.items():
        training = {"training": recipe, "ce_over": "new"}
        arms[f"baseline{suffix}"] = [training]
        for name, weights in WEIGHTS.items():
            plain = {"warmup_steps": 0} if name == "lwf" else {}
            methods = [{name: {"weight": float(weight), **plain}} for weight in weights]
            arms[f"{name}{suffix}"] = [{**training, "methods": method} for method in methods]
    return arms


def figure(rows: list[Row], images: str, folder: Path) -> None:
    """Draw A and B over the steps, and B against A at the end: means over seeds, of val."""
    from pipeline.report.figures import canvas, style

    drawn, [(left, middle, right)] = canvas(13, 3.8, columns=3)
    for number, arm in enumerate(ARMS):
        curves = [json.loads(row[f"curve/{arm}"]) for row in rows]
        old, new = (
            100 * np.mean([curve[f"val_acc/{task}"] for curve in curves], axis=0)
            for task in ("base", arm)
        )
        left.plot(curves[0]["step"], old, **style(number))
        middle.plot(curves[0]["step"], new, **style(number))
        right.plot(old[-1:], new[-1:], marker="o", label=arm, **style(number))
    left.set(xlabel="step", ylabel="A, %")
    middle.set(xlabel="step", ylabel="B, %")
    right.set(xlabel="A at the end, %", ylabel="B at the end, %")
    right.legend()
    drawn.savefig(folder / f"forgetting_{images}.png", dpi=110, bbox_inches="tight")


def main(pair: Pair, folder: Path | None) -> None:
    """Run what is missing; print the table and what separates the arms."""
    chosen = pair.choose("forgetting", candidates(), "val_score/{}")
    rows = pair.claim("forgetting", chosen, [*COLUMNS.values(), "curve/{}"])
    print(table(rows, ARMS, COLUMNS))
    for arm in ARMS[1:]:
        print(f"score, {arm} - baseline: {difference(rows, 'val_score/{}', arm, 'baseline')}")
    if folder:
        figure(rows, pair.images, folder)


if __name__ == "__main__":
    given = options(__doc__)
    for pair in pairs("class", given.images):
        main(pair, given.figures)
