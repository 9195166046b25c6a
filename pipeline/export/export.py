"""Write a model in a format, once its answers are those of PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.export.formats import FORMATS, Answers, program, said
from pipeline.networks import checkpoint
from pipeline.networks.servable import Servable

TOLERANCE = 1e-4  # of a probability
BATCHES = (1, 2, 5)  # images that both are asked about at once


class Exported(NamedTuple):
    """A file that was written.

    Attributes:
        path: of it.
        num_bytes: its size.
        difference: the largest of a probability from PyTorch's, 0..1.
        answers: what it says of images.
    """

    path: Path
    num_bytes: int
    difference: float
    answers: Answers


def export(folder: Path | str, into: Path | str, formats: Sequence[str]) -> list[Exported]:
    """Write `<into>/model.<format>` for each format, and `<into>/card.json`.

    Args:
        folder: of the model.
        formats: keys of `FORMATS`.

    Raises:
        UserError: no model there, or it answers otherwise than in PyTorch by more than `TOLERANCE`;
            a format needs a package that is not installed. Nothing is written then.
    """
    for name in formats:
        FORMATS[name].check(name)
    network, card = checkpoint.load(folder)
    servable = Servable(network, card)
    graph, about = program(servable, card), said(card)
    made = {name: FORMATS[name].encode(graph, about) for name in formats}
    exported = []
    for name, data in made.items():
        path, answers = Path(into) / f"model.{name}", FORMATS[name].load(data)
        difference = apart(answers, of(servable), card["image_shape"])
        if not difference <= TOLERANCE:  # nor where it is no number
            what = f"answers otherwise than '{card['name']}' in PyTorch, by up to {difference:.1g}"
            raise UserError(str(path), what, "choose another format")
        exported.append(Exported(path, len(data), difference, answers))
    for file, data in zip(exported, made.values()):
        files.write_bytes(file.path, data)
    files.write_json(Path(into) / "card.json", about)
    return exported


def of(servable: Servable) -> Answers:
    """What PyTorch answers."""

    @torch.inference_mode()
    def answers(images: np.ndarray) -> np.ndarray:
        return servable(torch.from_numpy(images)).numpy()

    return answers


def apart(one: Answers, other: Answers, shape: Sequence[int]) -> float:
    """The largest difference of two answers to images of noise, in several batches."""
    rng, largest = np.random.default_rng(0), []
    for num in BATCHES:
        images = rng.integers(0, 256, (num, *shape), dtype=np.uint8)
        largest.append(np.abs(one(images) - other(images)).max())
    return float(np.max(largest))
