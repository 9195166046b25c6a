"""The files of a folder that may be images: nothing outside of it, nothing hidden."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from pipeline.core.block import Fault
from pipeline.core.errors import UserError

LEFT_BY_SYSTEMS = {"Thumbs.db", "desktop.ini", "__MACOSX"}
HIDDEN = "hidden files and folders"
FIX_LINK = "put the files themselves there, or name their folder as data.root"


class Walk:
    """Walks below a folder, in the order of the names.

    Args:
        but: files that are no images, from the root on.

    Attributes:
        root: the folder, perhaps a link itself.
        faults: names that cannot be used and links that lead out, in the order met.
        ignored: files and folders left out, by kind.
    """

    def __init__(self, root: Path, but: Iterable[str] = ()):
        self.root = root
        self._real = os.path.realpath(root)
        self._but = {str(PurePosixPath(path)) for path in but}
        self.faults: list[UserError] = []
        self.ignored: Counter[str] = Counter()
        self._seen: dict[str, list[os.DirEntry]] = {}  # by folder, so that nothing counts twice

    def folders(self, below: str = "") -> list[str]:
        """Names of the folders in a folder of the root."""
        return [entry.name for entry in self._entries(below) if _is_folder(entry)]

    def loose(self, below: str = "") -> list[str]:
        """Names of what else is in it."""
        return [entry.name for entry in self._entries(below) if not _is_folder(entry)]

    def files(self, below: str) -> Iterator[str]:
        """Paths, from the root on, of all files in a folder and in those within it."""
        for entry in self._entries(below):
            path = join(below, entry.name)
            if _is_folder(entry):
                yield from self.files(path)
            else:
                yield path

    def holds(self, path: str) -> bool:
        """Whether a path from the root on, all links followed, leads within the root."""
        real = os.path.realpath(self.root / path)
        return os.path.commonpath([self._real, real]) == self._real

    def _entries(self, below: str) -> list[os.DirEntry]:
        if below not in self._seen:
            found = self._listed(below)
            self._seen[below] = [e for e in found if self._is_ours(e, join(below, e.name))]
        return self._seen[below]

    def _listed(self, below: str) -> list[os.DirEntry]:
        try:
            with os.scandir(self.root / below) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            what, fix = f"cannot be listed ({error.strerror})", "allow it to be read, or remove it"
            self.faults.append(UserError(f"{self.root}/{below}", what, fix))
            return []

    def _is_ours(self, entry: os.DirEntry, path: str) -> bool:
        if entry.name.startswith(".") or entry.name in LEFT_BY_SYSTEMS:
            self.ignored[HIDDEN] += 1
            return False
        if path in self._but:
            return False
        where = f"{self.root}/{path}"
        if not _is_text(entry.name):
            shown = os.fsencode(where).decode("utf-8", "backslashreplace")
            self.faults.append(UserError(shown, "its name is not UTF-8", "rename it"))
            return False
        if entry.is_symlink() and not self.holds(path):
            self.faults.append(UserError(where, f"is a link out of {self.root}", FIX_LINK))
            return False
        if entry.is_symlink() and os.path.isdir(entry.path):
            self.faults.append(UserError(where, "is a link to a folder", FIX_LINK))
            return False
        return True


def _is_folder(entry: os.DirEntry) -> bool:
    """Not a link to one, which is a fault."""
    return entry.is_dir(follow_symlinks=False)


def join(folder: str, name: str) -> str:
    """A path from the root on; the root itself is ""."""
    return f"{folder}/{name}" if folder else name


def below_root(key: str, names: list[str], kind: str) -> Iterator[Fault]:
    """A fault for each name that leads out of the root, or is the root itself.

    Args:
        key: of the block `data` that has the names.
        kind: what they name: `a folder`.
    """
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or path == PurePosixPath("."):
            what = f"'{name}' is not {kind} below data.root"
            yield Fault(key, what, "name it from data.root on")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
