"""What all views share: host-side draws in which a row depends on its position alone."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor


class View(ABC):
    """A random change of images whose randomness is one row of uniform numbers per image.

    Row i of a draw is the same whatever the number of rows, so neither the batch size nor a slice
    of the batch (one rank's share, say) changes the view of the image at a position.
    """

    width: int  # uniform numbers per image

    @abstractmethod
    def read(self, uniform: np.ndarray) -> dict[str, np.ndarray]:
        """Parameters by name, first axis num, from numbers in [0, 1) of shape (num, width)."""

    def draw(self, rng: np.random.Generator, num: int) -> dict[str, np.ndarray]:
        """Parameters for num images: arrays that can be sliced by position along axis 0."""
        return self.read(rng.random((num, self.width)))


def numpy_generator(
    generator: np.random.Generator | torch.Generator | None,
) -> np.random.Generator:
    """A numpy generator: the given one, or one seeded from torch's (None: its global one).

    Raises:
        ValueError: the generator lives on a device, where every draw would have to be waited for.
    """
    if isinstance(generator, np.random.Generator):
        return generator
    if generator is not None and generator.device.type != "cpu":
        raise ValueError(f"generator: must live on the CPU, is on {generator.device}")
    return np.random.default_rng(int(torch.randint(2**63 - 1, (), generator=generator)))


def to_device(values: Any, device: torch.device) -> Tensor:
    """Copy host numbers to a device without waiting for it."""
    values = torch.as_tensor(values)
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()
    return values.to(device, non_blocking=device.type == "cuda")
