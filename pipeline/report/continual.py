"""The task matrix: how right each model of a chain is on each task, and what was forgotten.

With `R[i][j]` the accuracy on task j after task i of K (from 1): backward transfer is the mean
over j < K of `R[K][j] - R[j][j]`, forgetting the mean over j < K of `max_{i<K} R[i][j] - R[K][j]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipeline.report.measure import Measured


def chain(measured: dict[str, Measured], name: str) -> list[str]:
    """The models that stand for the tasks `name` knows, oldest first: for the base task the model
    the first task was learnt on, then one model a task, `name` last."""
    models = [name]
    while len(measured[models[0]].card["heads"]) > 1:
        models.insert(0, next(iter(measured[models[0]].card["parents"])))
    return models


def matrix(measured: dict[str, Measured], name: str, split: str) -> tuple[list[str], np.ndarray]:
    """Task names, and R (K, K) in 0..1, `nan` above the diagonal (heads that did not exist)."""
    models = chain(measured, name)
    task_names = [head["task"] for head in measured[name].card["heads"]]
    found = np.full((len(models), len(task_names)), np.nan)
    for i, model in enumerate(models):
        seen = measured[model].seen[split]
        for j, task in enumerate(task_names[: i + 1]):
            found[i, j] = seen.right[seen.task == task].mean()
    return task_names, found


def backward_transfer(found: np.ndarray) -> float:
    """Mean change on the earlier tasks since each was learnt."""
    return float(np.mean(found[-1, :-1] - np.diag(found)[:-1]))


def forgetting(found: np.ndarray) -> float:
    """Mean fall on the earlier tasks from the best there was."""
    return float(np.mean(np.nanmax(found[:-1, :-1], axis=0) - found[-1, :-1]))


def metrics(measured: dict[str, Measured]) -> dict[str, float]:
    """`task_acc/<model>/<task>` and, for extended models, `task_acc_told/...`, `forgetting/...`
    and `bwt/...`: on test where it was read, and with the prefix `val_` on val."""
    result: dict[str, float] = {}
    for name, model in measured.items():
        for split, seen in model.seen.items():
            prefix = "val_" if split == "val" else ""
            told = (seen.told.argmax(1) == seen.labels).numpy()
            for task in dict.fromkeys(seen.task.tolist()):
                mine = seen.task == task
                result[f"{prefix}task_acc/{name}/{task}"] = float(seen.right[mine].mean())
                if len(model.card["heads"]) > 1:
                    result[f"{prefix}task_acc_told/{name}/{task}"] = float(told[mine].mean())
            if len(model.card["heads"]) > 1:
                _, found = matrix(measured, name, split)
                result[f"{prefix}forgetting/{name}"] = forgetting(found)
                result[f"{prefix}bwt/{name}"] = backward_transfer(found)
    return result
