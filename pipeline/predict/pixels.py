"""An image file as a model takes it: decoded as `prepare` does, of the shape it learnt from."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pipeline.sources import decoder
from pipeline.sources.pixel_modes import BadImage

GREY = np.array([19595, 38470, 7471], dtype=np.uint32)[:, None, None]  # ITU-R 601, of 2^16


def read(path: str, image_shape: tuple[int, int, int]) -> np.ndarray:
    """uint8 (C, H, W): upright, resized so that the shape is just covered, the middle kept; grey
    where C is 1.

    Raises:
        BadImage: it is no regular file, or one of no allowed format, or too large.
        Exception: of any kind, where the file is broken.
    """
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise BadImage("is no file")  # a pipe, say, which would wait for ever
    channels, height, width = image_shape
    if height == width:
        pixels = _array(*decoder.decode(path, height)[:3])
    else:
        pixels = _fitted(_array(*decoder.decode(path, 0)[:3]), height, width)
    return grey(pixels) if channels == 1 else pixels


def _array(data: bytes, height: int, width: int) -> np.ndarray:
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, height, width)


def _fitted(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """What `decoder.decode` does for squares."""
    if pixels.shape[1:] == (height, width):
        return pixels
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    fitted = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return np.asarray(fitted).transpose(2, 0, 1)


def grey(rgb: np.ndarray) -> np.ndarray:
    """(3, H, W) -> (1, H, W), as Pillow makes it: of a grey image what it was."""
    return ((rgb * GREY).sum(0, keepdims=True) + (1 << 15) >> 16).astype(np.uint8)
