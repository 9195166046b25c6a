"""Decoded images on disk, so that the same files need not be decoded again.

    <root>/.lineage/decoded/<key>/images    rows of uint8 (3, height, width), one after another
                                  index     what is in them, written as it goes
                                  lock

The key is a digest of the images' folder and size. The first line of the index says what rules the
pixels were made by; each other line is what became of some files. A line begins with the CRC-32 of
its rest, so half a line, or one that was changed, is as none. A row, once written, is never written
again, and a file of fewer rows is a new one: who has mapped the old one keeps it. All of it may be
deleted at any time.
"""

from __future__ import annotations

import json
import mmap
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from filelock import FileLock

from pipeline.core import files, machine
from pipeline.sources.decoder import CHANNELS, RULES, identity
from pipeline.sources.stamps import Stamp

NO_ROW = -1


class Entry(NamedTuple):
    """What became of a file.

    Attributes:
        path: from the images' root on.
        num_bytes, mtime_ns: its stamp.
        row: of its pixels; -1 without.
        sha256, height, width, kinds, own, fault: see `decoder.Result`.
    """

    path: str
    num_bytes: int
    mtime_ns: int
    row: int
    sha256: str
    height: int
    width: int
    kinds: list[str]
    own: list[int]
    fault: str

    @property
    def stamp(self) -> Stamp:
        """What the file was known by."""
        return Stamp(self.num_bytes, self.mtime_ns)


class DecodedCache:
    """The decoded images of a folder at a size; to be used within `opened`.

    Attributes:
        folder: where they are kept.
        shape: of an image, (3, height, width).
        num_rows: of the file of images; some may be empty or stale.
    """

    def __init__(self, folder: Path, head: dict):
        self.folder = folder
        self._head = head
        self.shape = (len(CHANNELS), head["height"], head["width"])
        self._row_bytes = len(CHANNELS) * head["height"] * head["width"]
        self._entries = self._read()
        self.num_rows = 1 + max((e.row for e in self._entries.values()), default=NO_ROW)
        self._file = open(folder / "images", "r+b")  # noqa: SIM115 (closed by `close`)

    def close(self) -> None:
        """Let go of the file; arrays of it stay."""
        self._file.close()

    def fileno(self) -> int:
        """Descriptor of the file of images, to write to rows from `num_rows` on."""
        return self._file.fileno()

    def __getitem__(self, path: str) -> Entry:
        """What became of a file."""
        return self._entries[path]

    def checked(self, stamps: dict[str, Stamp]) -> Iterator[str]:
        """The paths of files that are known and unchanged, and whose pixels are, by their SHA-256,
        the ones that were written."""
        entries = (self._entries[path] for path in stamps if path in self._entries)
        known = [entry for entry in entries if entry.stamp == stamps[entry.path]]
        if not os.fstat(self.fileno()).st_size:  # nothing to map
            yield from (entry.path for entry in known if entry.row == NO_ROW)
            return
        mapped = mmap.mmap(self.fileno(), 0, access=mmap.ACCESS_READ)
        with mapped, memoryview(mapped) as pixels:
            for entry in known:
                if entry.row == NO_ROW or self._is_whole(entry, pixels):
                    yield entry.path

    def _is_whole(self, entry: Entry, pixels: memoryview) -> bool:
        begin = entry.row * self._row_bytes
        with pixels[begin : begin + self._row_bytes] as row:
            return identity(row, self.shape) == entry.sha256

    def add(self, entries: list[Entry]) -> None:
        """Keep what became of some files; their pixels have been written."""
        self._entries |= {entry.path: entry for entry in entries}
        self.num_rows = max([self.num_rows, *(entry.row + 1 for entry in entries)])
        with open(self.folder / "index", "ab") as index:
            index.write(_line(entries))

    def drop_stale(self, used: set[str], stamp: Callable[[str], Stamp | str]) -> None:
        """Make the file of images anew without its empty and stale rows, if they are more than
        half: those of files that are gone or were changed.

        Args:
            used: paths of files that are known to be neither.
            stamp: of the file of a path.
        """
        if self.num_rows <= 2 * len(used):
            return
        entries = self._entries.values()
        live = [e for e in entries if e.path in used or stamp(e.path) == e.stamp]
        if self.num_rows > 2 * sum(entry.row != NO_ROW for entry in live):
            self._rewrite(live)

    def _rewrite(self, live: list[Entry]) -> None:
        old, moved, row = self.image(), [], 0
        num_bytes = self._row_bytes * sum(entry.row != NO_ROW for entry in live)
        with files.written(self.folder / "images", num_bytes) as file:
            for entry in live:
                if entry.row != NO_ROW:
                    file.write(old[entry.row])
                    entry, row = entry._replace(row=row), row + 1
                moved.append(entry)
        files.write_bytes(self.folder / "index", _line(self._head) + _line(moved))
        self.close()
        self._entries, self.num_rows = {entry.path: entry for entry in moved}, row
        self._file = open(self.folder / "images", "r+b")  # noqa: SIM115 (closed by `close`)

    def image(self) -> np.ndarray:
        """All rows, uint8 (num_rows, 3, height, width), memory-mapped."""
        shape = (self.num_rows, *self.shape)
        if not self.num_rows * self._row_bytes:
            return np.empty((0, *self.shape), np.uint8)
        if os.fstat(self.fileno()).st_size < self.num_rows * self._row_bytes:
            os.ftruncate(self.fileno(), self.num_rows * self._row_bytes)
        return np.memmap(self._file, np.uint8, "r", shape=shape)

    def _read(self) -> dict[str, Entry]:
        """The entries of the index, the last of each path; afresh where it is of another head."""
        index, images = self.folder / "index", self.folder / "images"
        head, *lines = [*_lines(index)] or [None]
        if head != self._head:
            images.unlink(missing_ok=True)  # who has mapped it keeps it
            index.write_bytes(_line(self._head))
            lines = []
        images.touch()
        return {values[0]: Entry(*values) for line in lines for values in line}


def folder(root: Path, size: int) -> Path:
    """Where the images below `root` are kept at a size."""
    key = files.digest([os.path.realpath(root), size])[:16]
    return machine.root() / ".lineage" / "decoded" / key


@contextmanager
def opened(root: Path, size: int, height: int, width: int) -> Iterator[DecodedCache]:
    """The cache of the images below `root`, for this process alone; it waits for others.

    Args:
        size: see `decoder.decode`.
        height, width: of the images to keep.
    """
    head = {"rules": RULES, "pillow": PIL.__version__, "height": height, "width": width}
    kept = folder(root, size)
    kept.mkdir(parents=True, exist_ok=True)
    with FileLock(kept / "lock"):
        cache = DecodedCache(kept, head)
        try:
            yield cache
        finally:
            cache.close()


def _line(value: object) -> bytes:
    text = json.dumps(value, separators=(",", ":")).encode()
    return b"\n%08x %s" % (zlib.crc32(text), text)  # half a line before it ends here


def _lines(path: Path) -> Iterator:
    """The values of all whole lines."""
    with open(path, "ab+") as file:
        file.seek(0)
        for line in file:
            crc, _, text = line.rstrip(b"\n").partition(b" ")
            if crc == b"%08x" % zlib.crc32(text):
                yield json.loads(text)
