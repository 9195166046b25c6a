"""The task matrix: how right each model of a chain is on each task, and what was forgotten.

With `R[i][j]` the accuracy on task j after task i of K (from 1): backward transfer is the mean
over j < K of `R[K][j] - R[j][j]`, forgetting the mean over j < K of `max_{i<K} R[i][j] - R[K][j]`.
"""

import numpy as np

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
    share = np.full((len(models), len(task_names)), np.nan)
    for i, model in enumerate(models):
        answers = measured[model].answers[split]
        for j, task in enumerate(task_names[: i + 1]):
            share[i, j] = answers.right[answers.task == task].mean()
    return task_names, share


def backward_transfer(share: np.ndarray) -> float:
    """Mean change on the earlier tasks since each was learnt."""
    return float(np.mean(share[-1, :-1] - np.diag(share)[:-1]))


def forgetting(share: np.ndarray) -> float:
    """Mean fall on the earlier tasks from the best there was."""
    return float(np.mean(np.nanmax(share[:-1, :-1], axis=0) - share[-1, :-1]))


def metrics(measured: dict[str, Measured]) -> dict[str, float]:
    """`task_acc/<model>/<task>` and, for extended models, `task_acc_told/...` (the task known),
    `forgetting/...` and `bwt/...`: on test where it was read, and with the prefix `val_` on val."""
    result: dict[str, float] = {}
    for name, model in measured.items():
        for split in model.answers:
            mine = _of_split(measured, name, split)
            result |= {("val_" if split == "val" else "") + key: v for key, v in mine.items()}
    return result


def _of_split(measured: dict[str, Measured], name: str, split: str) -> dict[str, float]:
    answers = measured[name].answers[split]
    extended = len(measured[name].card["heads"]) > 1
    task_known = (answers.task_known.argmax(1) == answers.labels).numpy()
    result = {}
    for task in dict.fromkeys(answers.task.tolist()):
        mine = answers.task == task
        result[f"task_acc/{name}/{task}"] = float(answers.right[mine].mean())
        if extended:
            result[f"task_acc_told/{name}/{task}"] = float(task_known[mine].mean())
    if extended:
        _, share = matrix(measured, name, split)
        result[f"forgetting/{name}"] = forgetting(share)
        result[f"bwt/{name}"] = backward_transfer(share)
    return result
