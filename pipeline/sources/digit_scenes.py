"""Scenes to segment: scikit-learn's 1,797 real handwritten digits, each somewhere on a larger grey
canvas, with the class of every pixel."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.block import Fault
from pipeline.data.kinds import BACKGROUND, SEGMENTATION
from pipeline.sources import digits
from pipeline.sources.decoder import identity
from pipeline.sources.images import Images, Wanted

if TYPE_CHECKING:
    from pipeline.sources.options import Data

KEYS = {"size"}
KIND = SEGMENTATION
SIDE, SMALLEST, LARGEST = 16, 8, 128  # of the canvas, pixels
INK = 64  # least grey value of a digit's own pixels, 4 of the 16 that it was written in
NOISE = 96  # grey values of the canvas are below it


def read(data: Data, wanted: Wanted) -> Images:
    """A scene of each digit; where it lies, and what is behind it, depend on its pixels alone."""
    bunch = digits.read(data.model_copy(update={"size": 0}), wanted)
    side = data.size or SIDE
    made = [scene(one[0], side) for one in bunch.image]
    image, ink = (np.stack(parts) for parts in zip(*made))
    return replace(
        bunch,
        image=image[:, None],
        mask=np.where(ink, bunch.label[:, None, None] + 1, 0).astype(np.uint8),
        path=[path.replace("digits", "scenes") for path in bunch.path],
        sha256=[identity(one.tobytes(), (1, side, side)) for one in image],
    )


def scene(digit: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A digit's grey values, uint8 (8, 8), on a canvas: uint8 (side, side), and which of its pixels
    are the digit's, bool (side, side)."""
    rng = np.random.default_rng(list(hashlib.sha256(digit.tobytes()).digest()))
    canvas = rng.integers(0, NOISE, (side, side)).astype(np.uint8)
    ink = np.zeros((side, side), dtype=bool)
    top, left = rng.integers(0, side - len(digit) + 1, 2)
    place = slice(top, top + len(digit)), slice(left, left + len(digit))
    ink[place] = digit >= INK
    canvas[place] = np.maximum(canvas[place], digit)
    return canvas, ink


def faults(data: Data) -> Iterator[Fault]:
    """A canvas that a digit does not fit on; a class that is taken; no val images."""
    if data.size and not SMALLEST <= data.size <= LARGEST:
        what = f"a scene has a side of {SMALLEST} to {LARGEST}, not {data.size}"
        yield Fault("size", what, f"leave it out for {SIDE}")
    if BACKGROUND in data.classes:
        what = f"'{BACKGROUND}' is the class of all other pixels, which needs no name"
        yield Fault("classes", what, "leave it out")
    yield from (fault for fault in digits.faults(data) if fault.key != "size")
