"""Images in a folder for each class, `<root>/<class>/<file>`, and in folders without labels.

Where the root holds a folder `train` (and perhaps `val` and `test`), the classes are one level
deeper, `<root>/train/<class>/<file>`, and the images of `val` and `test` stay what they are.
`data.unlabelled` names folders below the root whose images have no label, however they are nested.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pipeline.core.block import Fault
from pipeline.core.errors import UserError, nearest
from pipeline.sources.images import Found, Images, Wanted
from pipeline.sources.listing import HELD, File, Listing, shortened
from pipeline.sources.walk import Walk, join

if TYPE_CHECKING:
    from pipeline.sources.options import Data

KEYS = {"size", "unlabelled", "on_bad_image"}
SPLITS = ("test", "val", "train")
OTHER_CLASSES = "folders of classes that params do not name"
LOOSE = "files outside the classes' folders"


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
    """Folders that do not lie below the root."""
    for name in data.unlabelled:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or path == PurePosixPath("."):
            what = f"'{name}' is not a folder below data.root"
            yield Fault("unlabelled", what, "name it from data.root on")


def listing(data: Data, wanted: Wanted) -> Listing:
    """The image files below `data.root`, in the order of their names; hidden ones are left out.

    Raises:
        UserError: no such folder, no folder of a class; names and links that cannot be used, all
            in one pass.
    """
    root = Path(data.root)
    if not root.is_dir():
        fix = "put a folder of images for each class there, or correct data.root"
        raise UserError(str(root), "no such folder", fix)
    walk = Walk(root)
    unlabelled = [str(PurePosixPath(name)) for name in data.unlabelled]
    folders = [folder for folder in _class_folders(walk) if folder.path not in unlabelled]
    classes = sorted({folder.label for folder in folders})
    wanted.check(classes)
    files = [
        folder._replace(path=path)
        for folder in folders
        if folder.label in wanted.classes
        for path in walk.files(folder.path)
    ]
    files += _unlabelled(walk, unlabelled)
    if walk.faults:
        raise UserError.all(shortened(str(root), walk.faults, "files cannot be used"))
    brings = frozenset(folder.given for folder in folders) & frozenset(HELD)
    return Listing(root, files, classes, brings, _ignored(walk, set(classes) - wanted.known))


def _class_folders(walk: Walk) -> Iterator[File]:
    """The folder of each class in each split, in the place of a file."""
    for given in _splits(walk):
        yield from (File(join(given, name), name, given) for name in walk.folders(given))


def _splits(walk: Walk) -> list[str]:
    """The folders that classes stand in; the root itself if it has no `train`."""
    there = walk.folders()
    return [name for name in SPLITS if name in there] if "train" in there else [""]


def _unlabelled(walk: Walk, names: list[str]) -> list[File]:
    paths = []
    for name in names:
        if not (walk.root / name).is_dir():
            fix = nearest(name, walk.folders())
            raise UserError("data.unlabelled", f"{walk.root} has no folder '{name}'", fix)
        found = list(walk.files(name))
        if not found:
            what = f"the folder '{name}' of {walk.root} holds no images"
            raise UserError("data.unlabelled", what, "put images there, or leave it out")
        paths += found
    return [File(path) for path in dict.fromkeys(paths)]


def _ignored(walk: Walk, others: set[str]) -> dict[str, int]:
    loose = sum(len(walk.loose(given)) for given in {"", *_splits(walk)})
    counts = {**walk.ignored, OTHER_CLASSES: len(others), LOOSE: loose}
    return {kind: num for kind, num in counts.items() if num}
