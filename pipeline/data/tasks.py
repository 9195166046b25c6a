"""Tasks and their images: a model's heads say which, `data/prepared/<task>` holds them."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.core.errors import UserError
from pipeline.data import store


class Known(NamedTuple):
    """The images of one task that a model learnt."""

    task: str
    images: Tensor  # uint8 (N, C, H, W)
    labels: Tensor  # int64 (N,) or (N, H, W), positions among all the model's classes
    columns: slice  # the task's block of logits


def dataset(task: str) -> store.Dataset:
    """The prepared data set of `base` or of a task.

    Raises:
        UserError: it is not there or damaged.
    """
    return store.load(store.PREPARED / task)


def is_task_known(card: dict) -> bool:
    """Whether a model answers with the task of each image known (scenario `task`)."""
    return card.get("task", {}).get("scenario") == "task"


def columns(known_tasks: list[Known]) -> list[slice]:
    """The block of logits of each image's task, an entry per image."""
    return [task.columns for task in known_tasks for _ in task.labels]


def learnt(card: dict) -> list[tuple[str, str]]:
    """The tasks that a model learnt, in their order, each with the one whose head answers it."""
    first = card["heads"][0]["task"]
    return [(first, first), *((task, head) for task, head in card.get("tasks", []))]


def known(card: dict, split: str, asked: Iterable[tuple[str, str]] | None = None) -> list[Known]:
    """A split of every task that a model learnt, in their order.

    Args:
        asked: tasks, each with the one whose head answers it, in the place of those.

    Raises:
        UserError: data are missing, damaged, or have other classes than the head.
    """
    known_tasks, blocks, start = [], {}, 0
    for head in card["heads"]:
        blocks[head["task"]] = head, start
        start += len(head["classes"])
    for task, answered_by in learnt(card) if asked is None else asked:
        head, start = blocks[answered_by]
        data = dataset(task)
        if data.classes != head["classes"]:
            raise UserError(
                f"models/{card['name']}/card.json",
                f"has the classes {head['classes']}, {data.folder} has {data.classes}",
                f"train '{card['name']}' again",
            )
        images = torch.from_numpy(data.array(split).copy())
        labels = torch.from_numpy(data.array(split, "label").astype(np.int64) + start)
        block = slice(start, start + len(data.classes))
        known_tasks.append(Known(task, images, labels, block))
    return known_tasks
