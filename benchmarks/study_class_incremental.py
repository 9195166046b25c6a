"""Ten classes, two at a time: which methods still know all of them at the end?

CIFAR-10 at 16x16 pixels, 400 labels a class, `resnet_9` at a quarter of its width: a model of two
classes, then four tasks of two more, answers among all classes known so far (scenario `class`). A
memory of 500 images where a method has one. Of each method four candidates are tried on val, on the
first three pairs of classes, on seeds 0 and 1; the one with the highest accuracy on all six is run
on all five pairs with the seeds from 100 on, test read once. (On seed 0 the largest weights of LwF,
EWC and MAS were the best of lower ones, 1, 10 and 0.01, which larger ones took the place of: these
three had six candidates there.)

`python -m benchmarks.study_class_incremental --images <CIFAR-10>` (`make study-class-incremental
IMAGES=<CIFAR-10>`) continues the two CSVs `results/*class_incremental.csv` and prints the table;
`--figures <folder>` draws the accuracy over the tasks.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.continual import CIFAR10, Row, Task, cell, cifar10_base, merged, options
from benchmarks.study import CIFAR10_PARAMS, Study, run

SEARCH, CLAIMS = range(2), range(100, 105)
SEARCHED = 2  # tasks
MEMORY = {"memory": 500}
RATES = (0.05, 0.01)
EXPECTED = ["joint", "BiC", "replay", "LwF", "fine-tuning"]
METHODS: dict[str, list[dict[str, Any]]] = {
    "LwF": [{"lwf": {"weight": weight}} for weight in (20.0, 5.0)],
    "EWC": [{"ewc": {"weight": weight}} for weight in (30_000.0, 1000.0)],
    "MAS": [{"mas": {"weight": weight}} for weight in (30.0, 1.0)],
    "replay": [{"replay": {**MEMORY, "choose": "random", "ratio": n}} for n in (1.0, 2.0)],
    "herding + LwF": [{"replay": MEMORY, "lwf": {"weight": weight}} for weight in (1.0, 5.0)],
    "BiC": [
        {
            "replay": {**MEMORY, "ratio": ratio},
            "lwf": {"balance": "classes", "warmup_steps": 0},
            "bic": {},
        }
        for ratio in (1.0, 2.0)
    ],
    "generative replay": [
        {"generative_replay": {"labels": how, "steps": 400}} for how in ("argmax", "soft")
    ],
}


def candidates() -> dict[str, list[Task]]:
    """Four of every arm, by its name."""
    arms: dict[str, list[Task]] = {
        "fine-tuning": [
            {"ce_over": over, "training": {"learning_rate": rate}}
            for over, rate in itertools.product(("all", "new"), RATES)
        ],
        "joint": [
            {"joint": True, "training": {"learning_rate": rate}} for rate in (0.1, 0.05, 0.02, 0.01)
        ],
    }
    for name, choices in METHODS.items():
        arms[name] = [
            {"methods": methods, "training": {"learning_rate": rate}}
            for rate, methods in itertools.product(RATES, choices)
        ]
    return arms


def chain(images: Path, num: int, task: Task) -> dict[str, Any]:
    """Params of a model of two classes and `num` tasks of two more."""
    common = {
        "data": {"root": str(images.resolve())},
        "scenario": "class",
        "labels_per_class": 400,
        "methods": {},
        "training": {"steps": 300, "batch_size": 64, "evaluate_every": 300},
    }
    tasks = {
        f"t{n}": merged(
            common, {"base": f"t{n - 1}" if n > 1 else "teacher", "classes": _pair(n)}, task
        )
        for n in range(1, num + 1)
    }
    return {
        **cifar10_base(images, 2),
        "teacher.training": {"steps": 300, "batch_size": 64, "evaluate_every": 300},
        "generations": {},
        "baselines": {},
        "tasks": tasks,
        "final": "teacher",
        "report.register": False,
    }


def _pair(number: int) -> list[str]:
    return CIFAR10[2 * number : 2 * number + 2]


def study(name: str, images: Path, num: int, arms: Mapping[str, Task], test: bool) -> Study:
    """The arms as far as a number of tasks."""
    kind = "" if test else "val_"
    columns = [f"{kind}acc/t{n}" for n in range(1, num + 1)]
    columns += [f"{kind}forgetting/t{num}", f"{kind}task_mean/t{num}", "seconds"]
    if test:
        columns += ["acc/teacher", *(f"task_acc/t{num}/{t}" for t in ("base", f"t{num}"))]
    made = {arm: chain(images, num, task) for arm, task in arms.items()}
    seeds = CLAIMS if test else SEARCH
    return Study(name, made, seeds, columns, test, CIFAR10_PARAMS)


def choose(images: Path) -> dict[str, Task]:
    """Of every arm the best candidate on val."""
    arms = candidates().items()
    tried = {f"{arm} {n}": task for arm, many in arms for n, task in enumerate(many)}
    rows = run(study("tune_class_incremental", images, SEARCHED, tried, test=False))
    chosen = {}
    for arm, many in arms:
        means = [
            np.mean([float(r[f"val_acc/t{SEARCHED}"]) for r in rows if r["arm"] == f"{arm} {n}"])
            for n in range(len(many))
        ]
        chosen[arm] = many[int(np.argmax(means))]
        print(f"{arm}: {np.round(100 * np.array(means), 1)}: {chosen[arm]}", flush=True)
    return chosen


def table(rows: list[Row], arms: Mapping[str, Task]) -> str:
    """Accuracy among all classes after each task, forgetting, the first and the last pair."""
    named = [f"acc/t{n}" for n in range(1, 5)] + ["forgetting/t4", "task_acc/t4/base"]
    named += ["task_acc/t4/t4", "seconds"]
    header = ["%", "4 classes", "6", "8", "10", "forgetting", "first two", "last two", "seconds"]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for arm in arms:
        mine = [row for row in rows if row["arm"] == arm]
        cells = [cell([float(row[name]) for row in mine]) for name in named[:-1]]
        cells.append(f"{np.median([float(row['seconds']) for row in mine]):.0f}")
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


def differences(rows: list[Row]) -> str:
    """Of neighbours in the order that the papers find, seed by seed, after the last task."""
    accuracies = {
        arm: np.array([float(row["acc/t4"]) for row in rows if row["arm"] == arm])
        for arm in EXPECTED
    }
    return "\n".join(
        f"{better} - {worse}: {cell(accuracies[better] - accuracies[worse], '+')}"
        for better, worse in itertools.pairwise(EXPECTED)
    )


def figure(rows: list[Row], arms: Mapping[str, Task], folder: Path) -> None:
    """Draw the accuracy among the classes known so far, means over seeds."""
    from pipeline.report.figures import canvas, style

    drawn, axes = canvas(6.4, 4.2)
    for number, arm in enumerate(arms):
        mine = [row for row in rows if row["arm"] == arm]
        names = ["acc/teacher", *(f"acc/t{n}" for n in range(1, 5))]
        means = [100 * np.mean([float(row[name]) for row in mine]) for name in names]
        axes.plot([2, 4, 6, 8, 10], means, label=arm, **style(number))
    axes.set(xlabel="classes known", ylabel="accuracy among them, %")
    axes.legend()
    drawn.savefig(folder / "class_incremental.png", dpi=110, bbox_inches="tight")


def main() -> None:
    """Run what is missing and print the table."""
    given = options(__doc__)
    if not given.images:
        raise SystemExit("error: --images: it needs CIFAR-10; fix: name the folder that holds it")
    chosen = choose(given.images)
    rows = run(study("class_incremental", given.images, 4, chosen, test=True))
    print(table(rows, chosen))
    print(differences(sorted(rows, key=lambda row: int(row["seed"]))))
    if given.figures:
        figure(rows, chosen, given.figures)


if __name__ == "__main__":
    main()
