"""Images in a folder for each class, `<root>/<class>/<file>`.

Where the root holds a folder `train` (and perhaps `val` and `test`), the classes are one level
deeper, `<root>/train/<class>/<file>`, and the images of `val` and `test` stay what they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.core.errors import UserError
from pipeline.sources.decoding import Decoded, decode_all
from pipeline.sources.images import Images

if TYPE_CHECKING:
    from pipeline.sources.options import Data

GIVEN = ("test", "val", "train")  # of exact copies the first is kept: never one to learn from
SHOWN = 20  # faults named one by one


class _File(NamedTuple):
    path: str  # below the root
    label: str
    given: str


def read(data: Data, scratch: Path) -> Images:
    """Read every image below `data.root`, in the order of the names.

    Images become RGB, upright by their EXIF tag. With `data.size` the shorter side is resized to it
    (antialiased bilinear) and the middle square kept; without, all must be of one size.
    Hidden files are left out.

    Args:
        scratch: a folder on the disk that is to hold the data set.

    Raises:
        UserError: no such folder, no images, images that cannot be read or are of several sizes;
            all bad files in one pass; the disk is full.
    """
    root = Path(data.root)
    files = list(_files(root))
    if not files:
        what = "holds no images" if root.is_dir() else "no such folder"
        raise UserError(str(root), what, "put a folder of images for each class there")
    classes = sorted({name for _, name in _folders(root)})  # the empty ones too
    decoded = decode_all([str(root / file.path) for file in files], data.size, scratch)
    _check(decoded, root, files)
    place = {name: label for label, name in enumerate(classes)}
    return Images(
        image=decoded.image,
        row=np.arange(len(files)),
        label=np.array([place[file.label] for file in files], dtype=np.int64),
        classes=classes,
        path=[file.path for file in files],
        sha256=decoded.sha256,
        given=np.array([f.given for f in files]) if (root / "train").is_dir() else None,
    )


def _files(root: Path) -> Iterator[_File]:
    for given, name in _folders(root):
        below = Path(given, name)
        yield from (_File(str(below / file), name, given) for file in _visible(root / below))


def _folders(root: Path) -> Iterator[tuple[str, str]]:
    """The split that each class stands in, and its name."""
    splits = [name for name in GIVEN if (root / name).is_dir()] if (root / "train").is_dir() else []
    for given in splits or [""]:
        folder = root / given
        yield from ((given, name) for name in _visible(folder) if (folder / name).is_dir())


def _visible(folder: Path) -> list[str]:
    """Names in order."""
    if not folder.is_dir():
        return []
    names = (name for name in os.listdir(folder) if not name.startswith("."))
    return sorted(name for name in names if name != "Thumbs.db")


def _check(decoded: Decoded, root: Path, files: list[_File]) -> None:
    if decoded.faults:
        faults = (
            UserError(str(root / files[row].path), what, "replace or remove it")
            for row, what in decoded.faults.items()
        )
        raise UserError.all(_shortened(root, list(faults)))
    if len(decoded.sizes) > 1:
        sizes = sorted(decoded.sizes)
        some = ", ".join(f"{width}x{height}" for height, width in sizes[:3])
        what = f"images of {len(sizes)} sizes ({some}{', ...' if len(sizes) > 3 else ''})"
        raise UserError(str(root), what, "set data.size, the side to store them at")


def _shortened(root: Path, faults: list[UserError]) -> list[UserError]:
    """The first faults, and how many more there are."""
    more = len(faults) - SHOWN
    if more <= 0:
        return faults
    what = f"{more} more images cannot be read ({len(faults)} in all)"
    return [*faults[:SHOWN], UserError(str(root), what, "replace or remove them")]
