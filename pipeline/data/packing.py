"""Many small arrays in one buffer, so that one copy takes them to a device."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

ALIGNED = 16  # bytes; the width of the widest number that may lie in a buffer


class Place(NamedTuple):
    """Where an array lies."""

    start: int  # byte
    stop: int
    dtype: np.dtype
    shape: tuple[int, ...]


class Packing:
    """Where named arrays of fixed shapes lie in a buffer.

    Args:
        arrays: any of the names, types and shapes that will be packed.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        self.places: dict[str, Place] = {}
        self.size = 0  # bytes
        for name, array in arrays.items():
            stop = self.size + array.nbytes
            self.places[name] = Place(self.size, stop, array.dtype, array.shape)
            self.size = -(-stop // ALIGNED) * ALIGNED

    def pack(self, arrays: Mapping[str, np.ndarray], *, pinned: bool = False) -> Tensor:
        """A new buffer, uint8 (size,), with a copy of the arrays.

        Args:
            pinned: in memory that a GPU reads by itself. Torch gives it to nobody else before the
                copies from it are done, so the buffer may be dropped while they wait.

        Raises:
            ValueError: an array of another shape than was announced.
        """
        buffer = torch.empty(self.size, dtype=torch.uint8, pin_memory=pinned)
        raw = buffer.numpy()
        for name, place in self.places.items():
            if arrays[name].shape != place.shape:
                raise ValueError(f"{name}: is {arrays[name].shape}, was to be {place.shape}")
            there = raw[place.start : place.stop].view(place.dtype)
            there.reshape(place.shape)[...] = arrays[name]
        return buffer

    def unpack(self, buffer: Tensor) -> dict[str, Tensor]:
        """The arrays as tensors that share the buffer's memory, wherever it lies."""
        return {
            name: buffer[place.start : place.stop].view(_torch(place.dtype)).view(place.shape)
            for name, place in self.places.items()
        }


def _torch(dtype: np.dtype) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype)).dtype
