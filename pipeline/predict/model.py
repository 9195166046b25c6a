"""A model that answers, wherever it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipeline.core import machine
from pipeline.core.errors import UserError, nearest
from pipeline.data.tasks import is_task_known
from pipeline.networks import checkpoint, evaluate
from pipeline.networks.servable import Servable


@dataclass(frozen=True)
class Model:
    """What answers.

    Attributes:
        card: says what it is: its name, its heads with their classes, the shape of its images.
        probabilities: of images uint8 (N, C, H, W): float32 (N, K), as `Servable` gives them.
        device: that it answers on.
    """

    card: dict
    probabilities: Callable[[np.ndarray], np.ndarray]
    device: torch.device = torch.device("cpu")

    @property
    def name(self) -> str:
        """Of the model."""
        return self.card["name"]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images that it takes."""
        return tuple(self.card["image_shape"])

    @property
    def at_a_time(self) -> int:
        """Images that it takes best at once."""
        _, height, width = self.image_shape
        return evaluate.at_a_time(max(checkpoint.pixels(self.card), height * width), self.device)

    def block(self, task: str) -> tuple[list[str], slice]:
        """The classes that an answer ranges over, and their columns.

        Args:
            task: of the images, for a model that is to be told (scenario `task`); else "".

        Raises:
            UserError: it is not told, told in vain, or knows no such task.
        """
        classes = checkpoint.classes(self.card)
        tasks = [head["task"] for head in self.card["heads"]]
        if not is_task_known(self.card):
            if task:
                what = f"'{self.name}' answers over the classes of all its tasks"
                raise UserError("task", what, "leave it out")
            return classes, slice(0, len(classes))
        if task not in tasks:
            given = f"knows no task '{task}'" if task else "must be told the task of the images"
            fix = nearest(task, tasks) if task else f"add --task with one of: {', '.join(tasks)}"
            raise UserError("task", f"'{self.name}' {given}", fix)
        sizes = [len(head["classes"]) for head in self.card["heads"]]
        place = tasks.index(task)
        columns = slice(sum(sizes[:place]), sum(sizes[: place + 1]))
        return classes[columns], columns


def load(folder: Path | str) -> Model:
    """The model in a folder, on this machine's device.

    Raises:
        UserError: no model there, one of another version, or damaged.
    """
    settings = machine.load()
    device = machine.device(settings)
    network, card = checkpoint.load(folder, device)
    machine.set_threads(settings, network, checkpoint.pixels(card))
    servable = Servable(network, card)

    @torch.inference_mode()
    def probabilities(images: np.ndarray) -> np.ndarray:
        with machine.full_precision():
            return servable(torch.from_numpy(images).to(device)).cpu().numpy()

    return Model(card, probabilities, device)
