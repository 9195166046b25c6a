"""Image files become pixels: in the process that asks, or in one of its own.

`workers` starts those. This file and what it imports of ours import no NumPy, and so they start in
a tenth of a second.
"""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from multiprocessing.connection import Connection
from typing import NamedTuple

from PIL import Image, ImageOps

from pipeline.sources.image_file import opened
from pipeline.sources.pixel_modes import BadImage, to_rgb

RULES = 2  # of what pixels a file becomes: raise it when they change, and all is decoded anew
CHANNELS = "RGB"
SHOWN = 200  # characters of what a library says


class Target(NamedTuple):
    """Where pixels go.

    Attributes:
        file: descriptor of a file of images of one size, (N, 3, height, width), by rows.
        size: side that images are resized to; 0 = as they are.
        height, width: of the images in the file; others are not written.
    """

    file: int
    size: int
    height: int
    width: int


class Pixels(NamedTuple):
    """An image.

    Attributes:
        data: RGB pixels, channel by channel (3, height, width).
        kinds: what was done to make them so: see `pixel_modes`.
        own: width and height of the file's image, as it lies there.
    """

    data: bytes
    height: int
    width: int
    kinds: list[str]
    own: tuple[int, int]


class Result(NamedTuple):
    """What came of a file.

    Attributes:
        sha256: the image's identity; "" where there is a fault.
        fault: what is wrong with the file.
        lasts: whether the same file will give the same again; a disk's error may not.
        own: see `Pixels`.
    """

    sha256: str
    height: int = 0
    width: int = 0
    kinds: tuple[str, ...] = ()
    fault: str = ""
    lasts: bool = True
    own: tuple[int, int] = (0, 0)


def decode(path: str, size: int) -> Pixels:
    """The pixels of a regular file.

    With a size the shorter side is resized to it (antialiased bilinear) and the middle kept. A JPEG
    whose shorter side is 4 times the size or more is decoded at 1/2, 1/4 or 1/8 of its own, at no
    less than twice the size: several times as quick for photos.

    Raises:
        BadImage: see `opened` and `to_rgb`.
        Exception: of any kind, where the file is broken.
    """
    with warnings.catch_warnings(action="ignore"):  # Pillow's, of odd files
        return _decode(path, size)


def _decode(path: str, size: int) -> Pixels:
    with opened(path) as image:
        own = image.size
        if size and min(image.size) >= 4 * size and image.format in ("JPEG", "MPO"):
            image.draft(None, (2 * size, 2 * size))
        rgb, kinds = to_rgb(image)
    rgb = fitted(rgb, size)
    data = b"".join(rgb.tobytes("raw", channel) for channel in CHANNELS)
    return Pixels(data, rgb.height, rgb.width, kinds, own)


def fitted(image: Image.Image, size: int) -> Image.Image:
    """The image with its shorter side resized to `size` (antialiased bilinear) and the middle kept;
    0 = as it is."""
    if not size or image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)


def identity(pixels: bytes | memoryview, shape: tuple[int, int, int]) -> str:
    """The SHA-256 of an image's shape (C, H, W) and pixels: who it is, whatever its file's name."""
    digest = hashlib.sha256(str(shape).encode())
    digest.update(pixels)
    return digest.hexdigest()


def store(first: int, paths: list[str], target: Target) -> list[Result]:
    """Decode files into the rows of the target from `first` on.

    Raises:
        OSError: of the target's disk.
    """
    with warnings.catch_warnings(action="ignore"):
        return [_store(row, path, target) for row, path in enumerate(paths, first)]


def _store(row: int, path: str, target: Target) -> Result:
    try:
        data, height, width, kinds, own = _decode(path, target.size)
    except Exception as error:  # a broken file can fail in any way
        lasts = getattr(error, "errno", None) is None and not isinstance(error, MemoryError)
        return Result("", fault=reason(error), lasts=lasts)
    if (height, width) == (target.height, target.width):
        _write_all(target.file, data, row * len(data))
    sha256 = identity(data, (len(CHANNELS), height, width))
    return Result(sha256, height, width, tuple(kinds), own=own)


def _write_all(file: int, pixels: bytes, offset: int) -> None:
    """`pwrite` may write less than it is given, at most 2 GiB say."""
    rest = memoryview(pixels)
    while rest:
        num = os.pwrite(file, rest, offset)
        rest, offset = rest[num:], offset + num


def reason(error: Exception) -> str:
    """What is wrong with a file, in a line."""
    if isinstance(error, BadImage):
        return str(error)
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    line = "".join(c if c.isprintable() else "?" for c in said.splitlines()[0][:SHOWN])
    return f"cannot be read ({line})"


def serve(asked: Connection, target: Target) -> None:
    """Answer each job, the arguments of `store`, with its results or with what the disk said, until
    whoever asks is gone."""
    while True:
        try:
            first, paths = asked.recv()
        except (EOFError, ConnectionError):
            return
        try:
            answer = store(first, paths, target)
        except OSError as error:
            answer = error
        try:
            asked.send(answer)
        except ConnectionError:
            return


def end_with_parent() -> None:
    """Be killed when the process that started this one is gone (Linux; elsewhere after the job)."""
    if sys.platform == "linux":
        import ctypes
        import signal

        parent_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)


def main() -> None:
    """Of a process of its own: numbers of its connection and its target."""
    end_with_parent()
    descriptor, *numbers = map(int, sys.argv[1:])
    serve(Connection(descriptor), Target(*numbers))
