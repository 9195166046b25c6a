"""Which files are there to be opened: regular ones within their root, known by size and time."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from pipeline.sources.decoder import reason
from pipeline.sources.pixel_modes import BadImage

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Stamp(NamedTuple):
    """What a file is known by, next to its path, until it is changed."""

    num_bytes: int
    mtime_ns: int


class Stamps:
    """Of files below a folder, none of which is opened.

    Args:
        root: may be a link itself.
    """

    def __init__(self, root: Path):
        self._given = str(root)
        self._real = os.path.realpath(root)
        self._within: dict[str, bool] = {}  # folders met

    def of(self, path: str) -> Stamp | str:
        """The stamp of a file, given its path from the root on; what is wrong with it, where it is
        no regular file, cannot be reached, or lies outside the root by a link or a `..`."""
        try:
            return self._of(path)
        except (OSError, ValueError) as error:  # ValueError: of a NUL in the path, and BadImage
            return reason(error)

    def _of(self, path: str) -> Stamp:
        full = f"{self._given}/{path}"
        found = os.lstat(full) if self._is_within(path.rpartition("/")[0]) else None
        if found and stat.S_ISLNK(found.st_mode):
            found = os.stat(full) if self._holds(os.path.realpath(full)) else None
        if found is None:
            raise BadImage(f"leads out of {self._given}")
        if not stat.S_ISREG(found.st_mode):
            kind = KINDS.get(stat.S_IFMT(found.st_mode), "something else")
            raise BadImage(f"is {kind}, not a file")
        return Stamp(found.st_size, found.st_mtime_ns)

    def _is_within(self, folder: str) -> bool:
        if folder not in self._within:
            real = os.path.realpath(f"{self._given}/{folder}")
            self._within[folder] = self._holds(real)
        return self._within[folder]

    def _holds(self, real: str) -> bool:
        return os.path.commonpath([self._real, real]) == self._real
