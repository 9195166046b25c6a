"""Images in a folder for each class, `<root>/<class>/<file>`, and in folders without labels.

Where the root holds a folder `train` (and perhaps `val` and `test`), the classes are one level
deeper, `<root>/train/<class>/<file>`, and the images of `val` and `test` stay what they are.
`data.unlabelled` names folders below the root whose images have no label, however they are nested.
`data.manifest` names tables that say more of single images: see `manifest`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pipeline.core.block import Fault
from pipeline.core.errors import UserError, nearest
from pipeline.sources import manifest
from pipeline.sources.images import Found, Images, Wanted
from pipeline.sources.listing import HELD, File, Listing, shortened
from pipeline.sources.walk import FIX_LINK, Walk, below_root, join

if TYPE_CHECKING:
    from pipeline.sources.options import Data

KEYS = {"size", "unlabelled", "manifest", "on_bad_image"}
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
    """Folders and tables that do not lie below the root."""
    yield from below_root("unlabelled", data.unlabelled, "a folder")
    yield from below_root("manifest", data.manifest, "a file")


def listing(data: Data, wanted: Wanted) -> Listing:
    """The image files below `data.root`, in the order of their names; hidden ones are left out.

    Raises:
        UserError: no such folder, no folder of a class; names and links that cannot be used, or
            rows of tables, all in one pass.
    """
    root = Path(data.root)
    if not root.is_dir():
        fix = "put a folder of images for each class there, or correct data.root"
        raise UserError(str(root), "no such folder", fix)
    walk = Walk(root, but=data.manifest)
    nameless = [str(PurePosixPath(name)) for name in data.unlabelled]
    folders = [folder for folder in _class_folders(walk) if folder.path not in nameless]
    missing, rows = [], []
    unlabelled = _unlabelled(walk, nameless, missing)
    said = manifest.said(data, wanted, _known(folders, unlabelled), rows)
    labelled = [*folders, *said.values()]
    classes = sorted({file.label for file in labelled} - {""})
    files = _in_folders(walk, folders, wanted) | unlabelled | said
    unknown = [] if rows else wanted.faults(classes)
    if errors := unknown + missing + rows + walk.faults:
        raise UserError.all(shortened(str(root), errors, "files or rows cannot be used"))
    kept = [file for file in files.values() if file.label in {"", *wanted.classes}]
    brings = frozenset(file.given for file in labelled) & frozenset(HELD)
    return Listing(root, kept, classes, brings, _ignored(walk, set(classes) - wanted.known))


def _class_folders(walk: Walk) -> Iterator[File]:
    """The folder of each class in each split, in the place of a file."""
    for given in _splits(walk):
        yield from (File(join(given, name), name, given) for name in walk.folders(given))


def _splits(walk: Walk) -> list[str]:
    """The folders that classes stand in; the root itself if it has no `train`."""
    there = walk.folders()
    return [name for name in SPLITS if name in there] if "train" in there else [""]


def _in_folders(walk: Walk, folders: list[File], wanted: Wanted) -> dict[str, File]:
    return {
        path: folder._replace(path=path)
        for folder in folders
        if folder.label in wanted.classes
        for path in walk.files(folder.path)
    }


def _unlabelled(walk: Walk, names: list[str], errors: list[UserError]) -> dict[str, File]:
    paths, root = [], walk.root
    for name in names:
        found = []
        if not (root / name).is_dir():
            what, fix = f"{root} has no folder '{name}'", nearest(name, walk.folders())
        elif not walk.holds(name):
            what, fix = f"'{name}' is a link out of {root}", FIX_LINK
        else:
            found = list(walk.files(name))
            what = f"the folder '{name}' of {root} holds no images"
            fix = "put images there, or leave it out"
        errors += [] if found else [UserError("data.unlabelled", what, fix)]
        paths += found
    return {path: File(path) for path in paths}


def _known(folders: list[File], unlabelled: dict[str, File]) -> Callable[[str], File | None]:
    """What the folder of an image says of it, given its path; of classes not wanted as well."""
    by_path = {folder.path: folder for folder in folders}

    def known(path: str) -> File | None:
        above = (by_path.get(str(parent)) for parent in PurePosixPath(path).parents)
        folder = next(filter(None, above), None)
        return unlabelled.get(path) or (folder and folder._replace(path=path))

    return known


def _ignored(walk: Walk, others: set[str]) -> dict[str, int]:
    loose = sum(len(walk.loose(given)) for given in {"", *_splits(walk)})
    counts = {**walk.ignored, OTHER_CLASSES: len(others), LOOSE: loose}
    return {kind: num for kind, num in counts.items() if num}
