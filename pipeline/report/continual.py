"""The task matrix: how right each model of a chain is on each task, and what was forgotten.

With `R[i][j]` the accuracy on task j after task i of K (from 1): backward transfer is the mean
over j < K of `R[K][j] - R[j][j]`, forgetting the mean over j < K of `max_{i<K} R[i][j] - R[K][j]`,
and ACC the mean over j of `R[K][j]`. Forward transfer is the mean over j > 1 of `R[j-1][j]` minus
chance, of those tasks whose head was there before (scenario `domain`); chance is 1 over the number
of its classes, which an untrained network is right by on average over its random weights.
"""

import numpy as np

from pipeline.data import tasks
from pipeline.report.measure import Measured

SCORES = ("score", "score_old", "score_new")


def chain(measured: dict[str, Measured], name: str) -> list[str]:
    """The models that stand for the tasks `name` knows, oldest first: for the base task the model
    the first task was learnt on, then one model a task, `name` last."""
    models, parent = [name], name
    while (num := len(tasks.learnt(measured[models[0]].card))) > 1:
        parent = next(iter(measured[parent].card["parents"]))
        if len(tasks.learnt(measured[parent].card)) < num:  # a distilled model knows no less
            models.insert(0, parent)
    return models


def matrix(measured: dict[str, Measured], name: str, split: str) -> tuple[list[str], np.ndarray]:
    """Task names, and R (K, K) in 0..1, `nan` above the diagonal where heads did not exist: those
    that did answer a later `domain` as well."""
    models = chain(measured, name)
    task_names = [task for task, _ in tasks.learnt(measured[name].card)]
    share = np.full((len(models), len(task_names)), np.nan)
    for i, model in enumerate(models):
        answers = measured[model].answers[split]
        for j, task in enumerate(task_names[: i + 1]):
            share[i, j] = answers.right[answers.task == task].mean()
        for task, ahead in measured[model].ahead.get(split, {}).items():
            if task in task_names:
                share[i, task_names.index(task)] = ahead.accuracy
    return task_names, share


def backward_transfer(share: np.ndarray) -> float:
    """Mean change on the earlier tasks since each was learnt."""
    return float(np.mean(share[-1, :-1] - np.diag(share)[:-1]))


def forgetting(share: np.ndarray) -> float:
    """Mean fall on the earlier tasks from the best there was."""
    return float(np.mean(np.nanmax(share[:-1, :-1], axis=0) - share[-1, :-1]))


def forward_transfer(share: np.ndarray, chance: list[float]) -> float | None:
    """Mean over the tasks that were answered before they were learnt of how much better than an
    untrained network they were; None where there are none.

    Args:
        chance: of an untrained network on each task, 0..1.
    """
    ahead = [share[j - 1, j] - chance[j] for j in range(1, len(share))]
    ahead = [gain for gain in ahead if not np.isnan(gain)]
    return float(np.mean(ahead)) if ahead else None


def accuracy(share: np.ndarray) -> float:
    """ACC: mean over all tasks after the last, each as much as any other."""
    return float(share[-1].mean())


def metrics(measured: dict[str, Measured]) -> dict[str, float]:
    """`task_acc/<model>/<task>` and, for extended models, `task_acc_told/...` (the task known),
    `forgetting/...` and `bwt/...`: on test where it was read, and with the prefix `val_` on val."""
    result: dict[str, float] = {}
    for name, model in measured.items():
        if "score" in model.card["metrics"]:
            result |= {f"val_{k}/{name}": model.card["metrics"][k] for k in SCORES}
        for split in model.answers:
            mine = _of_split(measured, name, split)
            result |= {("val_" if split == "val" else "") + key: v for key, v in mine.items()}
    return result


def _of_split(measured: dict[str, Measured], name: str, split: str) -> dict[str, float]:
    answers = measured[name].answers[split]
    extended = len(tasks.learnt(measured[name].card)) > 1
    task_known = (answers.task_known.argmax(1) == answers.labels).numpy()
    result = {}
    for task in dict.fromkeys(answers.task.tolist()):
        mine = answers.task == task
        result[f"task_acc/{name}/{task}"] = float(answers.right[mine].mean())
        if extended:
            result[f"task_acc_told/{name}/{task}"] = float(task_known[mine].mean())
    if extended:
        names, share = matrix(measured, name, split)
        result[f"task_mean/{name}"] = accuracy(share)
        chance = [1 / num for num in _classes(measured[name], names)]
        if (gain := forward_transfer(share, chance)) is not None:
            result[f"fwt/{name}"] = gain
        result[f"forgetting/{name}"] = forgetting(share)
        result[f"bwt/{name}"] = backward_transfer(share)
    return result


def newest_classes(card: dict) -> list[str]:
    """Those of the task that a model learnt last; of a `domain` they are an earlier head's."""
    _, answered_by = tasks.learnt(card)[-1]
    return next(head["classes"] for head in card["heads"] if head["task"] == answered_by)


def _classes(model: Measured, names: list[str]) -> list[int]:
    """Of each task, the classes that an answer to its images ranges over."""
    card = model.card
    sizes = {head["task"]: len(head["classes"]) for head in card["heads"]}
    if not tasks.is_task_known(card):
        return [sum(sizes.values())] * len(names)
    return [sizes[head] for _, head in tasks.learnt(card)]
