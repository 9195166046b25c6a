"""Images that tables name: their paths, labels and splits, see `tables`.

`data.manifest` names the tables, from the root on. As a source they name all images. On top of
another source they say more of its images: mostly the labels of some that had none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from pipeline.core.block import Fault
from pipeline.core.errors import UserError, nearest
from pipeline.sources import tables
from pipeline.sources.images import Found, Images, Wanted
from pipeline.sources.listing import HELD, File, Listing, shortened
from pipeline.sources.stamps import Stamps
from pipeline.sources.tables import Row
from pipeline.sources.walk import below_root

if TYPE_CHECKING:
    from pipeline.sources.options import Data

KEYS = {"size", "manifest", "on_bad_image"}
SPLITS = ("train", *HELD)
FIX_PATH = "write it from data.root on, with '/'"


def read(data: Data, wanted: Wanted) -> Images:
    """Every image of the classes that are wanted, and every one without a label.

    Raises:
        UserError: see `listing` and `Listing.read`.
    """
    return listing(data, wanted).read(data)


def look(data: Data, wanted: Wanted) -> Found:
    """How many there are.

    Raises:
        UserError: see `listing`.
    """
    return listing(data, wanted).found()


def faults(data: Data) -> Iterator[Fault]:
    """No table, and tables that do not lie below the root."""
    if not data.manifest:
        what = f"the source '{data.source}' has its images from there"
        yield Fault("manifest", what, "name a CSV or Parquet file below data.root")
    yield from below_root("manifest", data.manifest, "a file")


def listing(data: Data, wanted: Wanted) -> Listing:
    """The images that the tables name, in the order of their paths.

    Raises:
        UserError: no such folder, tables that cannot be read, rows that cannot be used, all in one
            pass; no image of a class that is wanted.
    """
    root = Path(data.root)
    if not root.is_dir():
        fix = "put the images and their table there, or correct data.root"
        raise UserError(str(root), "no such folder", fix)
    errors: list[UserError] = []
    files = said(data, wanted, File, errors)
    if errors:
        raise UserError.all(shortened(str(root), errors, "rows cannot be used"))
    classes = sorted({file.label for file in files.values()} - {""})
    wanted.check(classes)
    kept = [files[path] for path in sorted(files) if files[path].label in {"", *wanted.classes}]
    brings = frozenset(file.given for file in files.values()) & frozenset(HELD)
    return Listing(root, kept, classes, brings)


def said(
    data: Data, wanted: Wanted, known: Callable[[str], File | None], errors: list[UserError]
) -> dict[str, File]:
    """What the tables say of images, by their paths.

    Args:
        known: what is known of the image of a path without them; None if it is no image of the
            source.
        errors: takes what is wrong with tables that cannot be read and rows that cannot be used.
    """
    root = Path(data.root)
    rows = [row for name in data.manifest for row in _rows(root, name, wanted.known, errors)]
    return _merged(rows, known, errors)


def _rows(root: Path, name: str, classes: Iterable[str], errors: list[UserError]) -> Iterator[Row]:
    """The good rows of a table, their paths in one form; the others are faults."""
    stamps = Stamps(root)
    unknown: dict[str, list[str]] = {}  # where labels stand that are no class
    try:
        for row in tables.read(root, name):
            found = row if isinstance(row, UserError) else _fault(row, stamps)
            if found:
                errors.append(found)
            elif row.label and row.label not in classes:
                unknown.setdefault(row.label, []).append(row.where)
            else:
                yield row._replace(path=str(PurePosixPath(row.path)))
    except UserError as error:
        errors.append(error)
    for label, where in unknown.items():
        what = f"no class of params is called {label!r}"
        what += f", here and in {len(where) - 1:,} other lines" if len(where) > 1 else ""
        errors.append(UserError(where[0], what, nearest(label, classes)))


def _fault(row: Row, stamps: Stamps) -> UserError | None:
    """What is wrong with a row by itself, but for its label."""
    if what := _path_fault(row.path):
        return UserError(row.where, what, FIX_PATH)
    if row.split and row.split not in SPLITS:
        return UserError(row.where, f"no split is called {row.split!r}", nearest(row.split, SPLITS))
    stamp = stamps.of(row.path)
    if isinstance(stamp, str):
        fix = FIX_PATH if "\\" in row.path else "correct the path, or put the file there"
        return UserError(row.where, f"{row.path!r} {stamp}", fix)
    return None


def _path_fault(path: str) -> str:
    if not path.strip():
        return "names no path"
    if PurePosixPath(path).is_absolute() or PureWindowsPath(path).drive:
        return f"{path!r} is an absolute path"
    return f"{path!r} leads upwards" if ".." in PurePosixPath(path).parts else ""


def _merged(
    rows: Iterable[Row], known: Callable[[str], File | None], errors: list[UserError]
) -> dict[str, File]:
    """By path what all its rows say together; what contradicts is a fault."""
    files: dict[str, File] = {}
    first: dict[str, str] = {}  # where else a path is spoken of
    for row in rows:
        file = files.get(row.path) or known(row.path)
        where = first.get(row.path, row.where)
        if row.label or row.split:
            first.setdefault(row.path, row.where)
        if file is None:
            what = f"{row.path!r} is neither in the folder of a class nor in one of data.unlabelled"
            errors.append(UserError(row.where, what, "name its folder in data.unlabelled"))
        elif clash := _clash(row, file):
            other = "its folder" if where == row.where else where
            what = f"{row.path!r} is {clash[0]!r} here, but {clash[1]!r} by {other}"
            errors.append(UserError(row.where, what, "correct one of them"))
        else:
            files[row.path] = File(row.path, file.label or row.label, file.given or row.split)
    bare = [file for file in files.values() if file.given in HELD and not file.label]
    for file in bare:
        what = f"{file.path!r} is a {file.given} image without a label"
        errors.append(UserError(first[file.path], what, "give it a label, or no split"))
    return files


def _clash(row: Row, file: File) -> tuple[str, str] | None:
    """What a row says, and what was said before, if both cannot be."""
    pairs = ((row.label, file.label), (row.split, file.given))
    return next((pair for pair in pairs if all(pair) and pair[0] != pair[1]), None)
