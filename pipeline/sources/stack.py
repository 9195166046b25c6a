"""Images that are arrays already, in one file: channels first, at a size, known by their pixels."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from PIL import Image

from pipeline.core import files
from pipeline.data import store
from pipeline.sources.decoder import fitted, identity

CHANNELS = (1, 3)


class Stack(NamedTuple):
    """Images of one size.

    Attributes:
        image: uint8 (N, C, H, W), memory-mapped from a file without a name, which is gone when this
            is.
        sha256: their identities (N,), see `decoder.identity`.
    """

    image: np.ndarray
    sha256: list[str]


def stack(parts: Iterable[np.ndarray], size: int) -> Stack:
    """Images one after the other; only one of the parts need be in memory.

    Args:
        parts: one or more of any form that `axis_of_channels` allows, all of one size.
        size: as for image files, see `decoder.decode`: 0 = as they are.

    Raises:
        UserError: the disk is full, or the folder of prepared data cannot be written to.
    """
    sha256, shape = [], (0, 0, 0)
    with files.disk_errors(store.PREPARED / "images", 0):
        store.PREPARED.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=store.PREPARED) as file:
        for part in map(channels_first, parts):
            height, width = (size, size) if size else part.shape[2:]
            shape = (part.shape[1], height, width)
            with files.disk_errors(store.PREPARED / "images", len(part) * int(np.prod(shape))):
                for one in part:
                    data = (_resized(one, size) if size else one).tobytes()
                    file.write(data)
                    sha256.append(identity(data, shape))
                file.flush()
        return Stack(np.memmap(file, np.uint8, "r", shape=(len(sha256), *shape)), sha256)


def channels_first(image: np.ndarray) -> np.ndarray:
    """Images as (N, C, H, W); nothing is copied."""
    axis = axis_of_channels(image.shape, image.dtype)
    return image[:, None] if axis is None else np.moveaxis(image, axis, 1)


def axis_of_channels(shape: tuple[int, ...], dtype: np.dtype) -> int | None:
    """Which axis of images is that of channels, of which there are 1 or 3; None for (N, H, W).

    Raises:
        ValueError: what is wrong with the shape or the type, in words for people.
    """
    if dtype != np.uint8:
        raise ValueError(f"is of type {dtype}, not uint8")
    if len(shape) not in (3, 4) or 0 in shape:
        raise ValueError(f"is of shape {shape}, not (N, C, H, W), (N, H, W, C) or (N, H, W)")
    axes = [axis for axis in (1, 3) if len(shape) == 4 and shape[axis] in CHANNELS]
    if len(shape) == 4 and not axes:
        raise ValueError(f"is of shape {shape}: neither the second nor the last is 1 or 3 channels")
    if len(axes) > 1:
        raise ValueError(f"is of shape {shape}: the second or the last could be the channels")
    return axes[0] if axes else None


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    """An image (C, H, W) of the size."""
    grey = len(image) == 1
    planes = np.ascontiguousarray(image[0] if grey else image.transpose(1, 2, 0))
    made = np.asarray(fitted(Image.fromarray(planes), size))
    return made[None] if grey else made.transpose(2, 0, 1)
