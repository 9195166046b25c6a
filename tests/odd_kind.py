"""An odd image file, and what is to become of it; a picture to make them of."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 10, 12
_y, _x = np.mgrid[:HEIGHT, :WIDTH]
# uint8 (10, 12, 3), smooth, so that lossy formats keep it; no two of its turns are alike
PICTURE = np.stack([20 + 18 * _x, 30 + 17 * _y, 200 - 6 * _x - 9 * _y], 2).astype(np.uint8)
GREY = PICTURE[..., 0]  # (10, 12)


class Odd(NamedTuple):
    """A file.

    Attributes:
        name: unlike all others'.
        content: its bytes; else something that puts it at a path, and is no regular file.
        pixels: uint8 (10, 12, 3) that it is to become at size 0; None if it cannot be read.
        off: how far each may be off.
        kinds: what is counted of it.
        fault: words of the error, where it cannot be read.
    """

    name: str
    content: bytes | Callable[[Path], object]
    pixels: np.ndarray | None = None
    off: int = 0
    kinds: tuple[str, ...] = ()
    fault: str = ""

    @property
    def special(self) -> bool:
        """Whether it is a folder, a link, a pipe."""
        return callable(self.content)

    def write(self, folder: Path) -> None:
        """Put it into a folder."""
        path = folder / self.name
        self.content(path) if self.special else path.write_bytes(self.content)


def group(kinds: tuple[str, ...], *files: tuple, off: int = 0) -> list[Odd]:
    """Files, each a name, bytes and pixels, of which the same is counted."""
    return [Odd(*file, off, kinds) for file in files]


def colours(grey: np.ndarray) -> np.ndarray:
    """A grey picture (H, W) as (H, W, 3) of uint8, rounded."""
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, 2)


def saved(pixels: np.ndarray | Image.Image, kind: str, mode: str = "", **options) -> bytes:
    """The bytes of a file of the format `kind`."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    if mode:
        image = image.convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG file of filtered rows, with further chunks (of `chunk`) before them."""
    head = struct.pack(">2I5B", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", head), *more, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def rows(values: np.ndarray) -> bytes:
    """Rows (H, ...) of big-endian values, unfiltered."""
    return b"".join(b"\0" + row.tobytes() for row in values)
