"""Images sorted into a folder for each class, so that none is ever lost or written over."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path

from pipeline.core.errors import UserError
from pipeline.predict.results import Told
from pipeline.predict.unreadable import unreadable


def check(folder: str, classes: Sequence[str]) -> None:
    """Refuse classes that cannot be folders of their own below `folder`.

    Raises:
        UserError: naming each.
    """
    unfit = [name for name in classes if name in (".", "..") or set(name) & set("/\\\0")]
    if unfit:
        what = "the class '{}' cannot be the name of a folder"
        fix = "use --csv, or rename the class"
        raise UserError.all(UserError(folder, what.format(name), fix) for name in unfit)


def sort(told: Iterable[Told], folder: str, copies: bool, least: float) -> str:
    """Move or copy every file whose answer is certain enough; returns what was done, in words.

    Args:
        copies: copy, and leave the files where they are.
        least: probability from which on.

    Raises:
        UserError: what could not be moved, all in one pass; everything else is.
    """
    sorter, uncertain = Sorter(folder, copies), 0
    for path, answer, probability in told:
        if probability < least:
            uncertain += 1
        else:
            sorter.put(path, answer)
    if sorter.faults:
        raise UserError.all(unreadable(sorter.faults, "move it by hand"))
    stay = f"; {uncertain:,} left, under {least:.0%}" if least else ""
    return f"{'copied' if copies else 'moved'} {sorter.done:,} to {folder}{stay}"


class Sorter:
    """Moves or copies files to `<folder>/<class>/<name>`, by a free name where that is taken.

    Args:
        copies: leave the files where they are.

    Attributes:
        done: files moved or copied.
        faults: what went wrong with others, by path; they are where they were.
    """

    def __init__(self, folder: str, copies: bool):
        self.folder = Path(folder)
        self.copies = copies
        self.done = 0
        self.faults: dict[str, str] = {}
        self._taken: Counter[Path] = Counter()  # so that no name is tried twice

    def put(self, path: str, name: str) -> None:
        """One file into the folder of a class; one that is there already stays."""
        into = self.folder / name
        try:
            if Path(path).absolute().parent.resolve() == into.resolve():
                return
            if not self.copies and os.path.islink(path):
                self.faults[path] = "is a link, which is not moved"
                return
            self._put(path, into)
            self.done += 1
        except OSError as error:
            self.faults[path] = f"cannot be put into {into} ({error.strerror or error})"

    def _put(self, path: str, into: Path) -> None:
        into.mkdir(parents=True, exist_ok=True)
        target = self._free(into, Path(path).name)
        try:
            (shutil.copy2 if self.copies else shutil.move)(path, target)
        except BaseException:
            if os.path.lexists(path):  # else it has just been moved
                target.unlink(missing_ok=True)
            raise

    def _free(self, into: Path, name: str) -> Path:
        """A new file of this name, or of one with a number behind it, which is ours from now on."""
        stem, suffix = os.path.splitext(name)
        for number in count(self._taken[into / name] + 1):
            target = into / (name if number == 1 else f"{stem}-{number}{suffix}")
            self._taken[into / name] = number
            try:
                target.open("xb").close()
            except FileExistsError:
                continue
            return target
        raise AssertionError("numbers do not end")
