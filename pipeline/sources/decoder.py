"""Image files become pixels: in the process that asks, or in one of its own.

`decoding` starts those by this file's path. They import nothing of ours, nor NumPy, and so start in
a tenth of a second.
"""

from __future__ import annotations

import hashlib
import os
import sys
from multiprocessing.connection import Connection
from typing import NamedTuple

from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "La", "RGBa")
CHANNELS = "RGB"


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


def decode(path: str, size: int) -> tuple[bytes, int, int]:
    """RGB pixels, channel by channel (3, H, W), upright by the EXIF tag; H and W.

    With a size the shorter side is resized to it (antialiased bilinear) and the middle kept.

    Raises:
        Exception: of any kind; a bad EXIF tag is a SyntaxError.
    """
    with Image.open(path, formats=FORMATS) as image:
        if image.mode not in EIGHT_BITS:  # their conversion to RGB saturates
            raise ValueError(f"is of mode {image.mode}, not eight bits a channel")
        upright = ImageOps.exif_transpose(image).convert("RGB")
    if size and upright.size != (size, size):
        upright = ImageOps.fit(upright, (size, size), Image.Resampling.BILINEAR)
    pixels = b"".join(upright.tobytes("raw", channel) for channel in CHANNELS)
    return pixels, upright.height, upright.width


def identity(pixels: bytes, shape: tuple[int, int, int]) -> str:
    """The SHA-256 of an image's shape (C, H, W) and pixels: who it is, whatever its file's name."""
    return hashlib.sha256(str(shape).encode() + pixels).hexdigest()


def store(
    first: int, paths: list[str], target: Target
) -> list[tuple[str, tuple[int, int] | None, str]]:
    """Decode files into the rows of the target from `first` on.

    Returns:
        for each its identity, height and width, and what is wrong with it: "" if nothing is.
    """
    return [_store(row, path, target) for row, path in enumerate(paths, first)]


def _store(row: int, path: str, target: Target) -> tuple[str, tuple[int, int] | None, str]:
    try:
        pixels, height, width = decode(path, target.size)
    except Exception as error:  # a broken file can fail in any way
        return "", None, _reason(error)
    if (height, width) == (target.height, target.width):
        _write_all(target.file, pixels, row * len(pixels))
    return identity(pixels, (len(CHANNELS), height, width)), (height, width), ""


def _write_all(file: int, pixels: bytes, offset: int) -> None:
    """`pwrite` may write less than it is given, at most 2 GiB say."""
    rest = memoryview(pixels)
    while rest:
        num = os.pwrite(file, rest, offset)
        rest, offset = rest[num:], offset + num


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"is no image of the formats {', '.join(FORMATS)}"
    if isinstance(error, ValueError):
        return str(error)
    return f"cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__})"


def serve(asked: Connection, target: Target) -> None:
    """Answer each job, the arguments of `store`, with its result or with what the disk said, until
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


if __name__ == "__main__":
    end_with_parent()
    descriptor, *numbers = map(int, sys.argv[1:])
    serve(Connection(descriptor), Target(*numbers))
