"""Where the logits of tasks are, and what of them the new images' labels speak of."""

from itertools import accumulate

import torch
from torch import Tensor

from pipeline.continual.options import Task
from pipeline.training.method import Blocks


def columns_of(card: dict) -> dict[str, slice]:
    """The logits of each of a model's heads, by the task that it was grown for."""
    ends = list(accumulate(len(head["classes"]) for head in card["heads"]))
    names = [head["task"] for head in card["heads"]]
    return {name: slice(*ends) for name, *ends in zip(names, [0, *ends], ends)}


def head_of(card: dict, classes: list[str]) -> str | None:
    """The task whose head has just these classes, in this order; None if there is none."""
    found = [head["task"] for head in card["heads"] if head["classes"] == classes]
    return found[0] if found else None


def blocks(task: Task, base: dict, rehearses: bool) -> Blocks:
    """Where old and new logits are, and what the cross-entropy ranges over.

    Args:
        base: the card of the base model.
        rehearses: whether images of earlier tasks are in the batch.
    """
    before = list(columns_of(base).values())
    total, num = before[-1].stop, len(task.classes)
    if task.scenario == "domain":
        new = columns_of(base)[head_of(base, task.classes)]
        return Blocks([slice(0, total)], new, slice(0, total) if task.ce_over == "all" else new)
    old = [slice(0, total)] if task.scenario == "class" else before
    new = slice(total, total + num)
    everything = task.ce_over == "all"
    if task.ce_over == "auto":
        everything = task.scenario == "class" and (rehearses or task.joint or num == 1)
    return Blocks(old, new, slice(0, new.stop) if everything else new)


def one_hot(labels: Tensor, first: int, columns: slice) -> Tensor:
    """One-hot rows over some columns of logits, (M, width), of labels 0, 1, ... (M,).

    Args:
        first: where among the columns class 0 is.
    """
    rows = torch.zeros(len(labels), columns.stop - columns.start)
    return rows.scatter_(1, labels[:, None] + first, 1.0)
