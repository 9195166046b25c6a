"""A few images out of many: their sizes by their headers, and how long one takes to decode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.proposal import stopwatch
from pipeline.sources import decoder
from pipeline.sources.image_file import opened
from pipeline.sources.pixel_modes import BadImage

HEADERS, DECODED = 300, 48  # images looked at
SECONDS = 1.0  # of decoding
GREY = ("1", "L", "LA", "I", "I;16", "F")  # Pillow's modes
SMALL = 0.05  # share of the images that may be smaller than what they are stored at


class Headers(NamedTuple):
    """What headers say.

    Attributes:
        side: the shorter side that nearly all have at least, in pixels.
        sizes: of images, (width, height), by how many.
        kinds: formats and modes, e.g. `JPEG RGB`, by how many.
        bad: files that are no image that can be used, and why.
    """

    side: int
    sizes: Counter
    kinds: Counter
    bad: dict[str, str]

    @property
    def colour(self) -> bool:
        """Whether at most half are grey."""
        grey = sum(num for kind, num in self.kinds.items() if kind.split()[1] in GREY)
        return 2 * grey <= self.kinds.total()


def headers(root: Path, paths: Sequence[str]) -> Headers:
    """Open some of the files, evenly spread over all; no pixel is decoded."""
    sizes, kinds, bad = Counter(), Counter(), {}
    for path in spread(paths, HEADERS):
        try:
            with opened(str(root / path)) as image:
                sizes[image.size] += 1
                kinds[f"{image.format} {image.mode}"] += 1
        except BadImage as error:
            bad[path] = str(error)
        except Exception as error:  # a broken file can fail in any way
            bad[path] = f"cannot be read ({str(error).splitlines()[0]})" if str(error) else "broken"
    shorter = sorted(min(size) for size in sizes.elements())
    side = shorter[int(SMALL * len(shorter))] if shorter else 0
    return Headers(side, sizes, kinds, bad)


class Decoded(NamedTuple):
    """Some images, decoded.

    Attributes:
        images: uint8 (N, 3, size, size).
        seconds: for one, on one core.
    """

    images: np.ndarray
    seconds: float


def decoded(root: Path, paths: Sequence[str], size: int) -> Decoded:
    """Decode some of the files, evenly spread over all, as `prepare` does; at least one, and no
    longer than `SECONDS`.

    Args:
        paths: of files that can be read.
    """
    images, started = [], stopwatch.now()
    for path in spread(paths, DECODED):
        pixels = decoder.decode(str(root / path), size)
        flat = np.frombuffer(pixels.data, dtype=np.uint8)
        images.append(flat.reshape(3, pixels.height, pixels.width))
        if stopwatch.seconds(started) > SECONDS:
            break
    return Decoded(np.stack(images), stopwatch.seconds(started) / len(images))


def spread(paths: Sequence[str], num: int) -> list[str]:
    """At most `num` of the paths, evenly spread."""
    step = max(1.0, len(paths) / num)
    return [paths[int(i * step)] for i in range(min(num, len(paths)))]
