"""What the studies of a task B on a model of a task A have in common.

An arm is a way to learn B: keys of a task's block. Of each arm there are as many candidates as of
any other; the best on val over a few seeds is the arm, which then is measured on other seeds. All
tasks of a chain extend the same model.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.study import CIFAR10_PARAMS, DIGITS_PARAMS, Study, mean_interval, run

Task = Mapping[str, Any]
Row = dict[str, str]
SEARCH = range(3)
CLAIMS = range(100, 110)


@dataclass(frozen=True)
class Pair:
    """A model of task A, and what all ways to learn task B have in common.

    Attributes:
        images: what the files of its results are called by.
        params: to start from.
        changes: its keys that differ.
        task: the block of B.
    """

    images: str
    params: Path
    changes: Mapping[str, Any]
    task: Task

    def study(
        self, name: str, tasks: Mapping[str, Task], columns: list[str], seeds: range, test: bool
    ) -> Study:
        """Chains of the model and of tasks on it."""
        common = {
            "generations": {},
            "baselines": {},
            "meta_pseudo_labels": {},
            "tasks": {arm: merged(self.task, task) for arm, task in tasks.items()},
            "final": "teacher",
            "report.register": False,
        }
        arms = {"default": common | dict(self.changes)}
        return Study(f"{name}_{self.images}", arms, seeds, columns, test, self.params)

    def choose(self, name: str, arms: Mapping[str, Sequence[Task]], by: str) -> dict[str, Task]:
        """Of each arm the candidate with the highest mean of a metric of val."""
        tasks = {f"{arm}-{n}": task for arm, many in arms.items() for n, task in enumerate(many)}
        columns = [by.format(task) for task in tasks]
        table = run(self.study(f"tune_{name}", tasks, columns, SEARCH, test=False))
        chosen = {}
        for arm, many in arms.items():
            columns = [by.format(f"{arm}-{n}") for n in range(len(many))]
            means = [np.mean([float(row[column]) for row in table]) for column in columns]
            chosen[arm] = many[int(np.argmax(means))]
            print(f"{arm}: {np.round(100 * np.array(means), 1)}: {chosen[arm]}", flush=True)
        return chosen

    def claim(self, name: str, arms: Mapping[str, Task], what: Sequence[str]) -> list[Row]:
        """The arms on fresh seeds, test read once; a row a seed.

        Args:
            what: columns, with {} for an arm.
        """
        columns = ["acc/teacher", *(column.format(arm) for arm in arms for column in what)]
        return run(self.study(name, arms, columns, CLAIMS, test=True))


def merged(*tasks: Task) -> dict:
    """A task's block, later keys before earlier ones, `training` key by key."""
    block: dict[str, Any] = {}
    for task in tasks:
        training = {**block.get("training", {}), **task.get("training", {})}
        block = {**block, **deepcopy(dict(task)), "training": training}
    return block


def digits(scenario: str) -> Pair:
    """Digits 0 to 4, then 5 to 9, 30 labels each, `small_cnn`."""
    task = {
        "base": "teacher",
        "data": {"root": "data/digits"},
        "scenario": scenario,
        "classes": ["5", "6", "7", "8", "9"],
        "labels_per_class": 30,
        "methods": {},
        "training": {"evaluate_every": 20},
    }
    changes = {"data.classes": ["0", "1", "2", "3", "4"], "data.labels_per_class": 30}
    return Pair("digits", DIGITS_PARAMS, changes, task)


CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def cifar10(scenario: str, root: Path, steps: int) -> Pair:
    """CIFAR-10 at 16x16, five classes and five more, 400 labels each, `resnet_9` x 0.25.

    Args:
        steps: of a task.
    """
    task = {
        "base": "teacher",
        "data": {"root": str(root.resolve())},
        "scenario": scenario,
        "classes": CIFAR10[5:],
        "labels_per_class": 400,
        "methods": {},
        "training": {"steps": steps, "batch_size": 64, "evaluate_every": 40},
    }
    return Pair("cifar10", CIFAR10_PARAMS, cifar10_base(root, 5), task)


def cifar10_base(root: Path, num_classes: int) -> dict[str, Any]:
    """Changes of the params of CIFAR-10: a teacher of the first classes, trained for less long."""
    return {
        "data.root": str(root.resolve()),
        "data.classes": CIFAR10[:num_classes],
        "teacher.training": {"steps": 1000, "batch_size": 64, "evaluate_every": 500},
    }


def options(description: str | None) -> argparse.Namespace:
    """Of the command line: `images` is CIFAR-10's folder or None, `figures` one or None."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, help="CIFAR-10 as train/<class>/, test/<class>/")
    parser.add_argument("--figures", type=Path, help="a folder to draw into")
    return parser.parse_args()


def pairs(scenario: str, images: Path | None, steps: int = 400) -> list[Pair]:
    """The digits and, where its images are, CIFAR-10, whose tasks are so many steps."""
    return [digits(scenario), *([cifar10(scenario, images, steps)] if images else [])]


def cell(values: Sequence[float], sign: str = "") -> str:
    """Mean and half width of the 95 % interval, in %; of a single value no interval."""
    if len(values) == 1:
        return f"{100 * values[0]:{sign}.1f}"
    mean, half = mean_interval(100 * np.array(values))
    return f"{mean:{sign}.1f} ± {half:.1f}"


def table(rows: list[Row], arms: Sequence[str], columns: Mapping[str, str]) -> str:
    """A line an arm; columns by what they are called, with {} for the arm."""
    lines = [f"| %, n = {len(rows)} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for arm in arms:
        cells = [cell([float(row[c.format(arm)]) for row in rows]) for c in columns.values()]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


def difference(rows: list[Row], column: str, after: str, before: str) -> str:
    """Of two arms, seed by seed."""
    pairs = [[float(row[column.format(arm)]) for arm in (after, before)] for row in rows]
    return cell([one - other for one, other in pairs], "+")
