"""Where the photos are: folders of classes, or a table of labels; and which files there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.core.errors import UserError, nearest
from pipeline.proposal import names
from pipeline.proposal.names import Names
from pipeline.proposal.rules import Because, Values, plain
from pipeline.proposal.sample import Headers, headers
from pipeline.sources import SOURCES, tables
from pipeline.sources.images import Found, Wanted
from pipeline.sources.listing import Listing
from pipeline.sources.options import Data
from pipeline.sources.walk import Walk


class Place(NamedTuple):
    """What is known of the photos without decoding one.

    Attributes:
        where: the keys of the block `data` that say where they and their classes are.
        names: what their names say.
        listing: the files.
        headers: what some of them are.
    """

    where: Values
    names: Names
    listing: Listing
    headers: Headers

    @property
    def found(self) -> Found:
        """How many there are."""
        return self.listing.found()

    @property
    def good(self) -> list[str]:
        """Paths of the files that nothing is known against."""
        return [file.path for file in self.listing.files if file.path not in self.headers.bad]


def look(root: Path, unlabelled: Sequence[str] = ()) -> Place:
    """What is there.

    Args:
        unlabelled: folders that a person says are without labels.

    Raises:
        UserError: no such folder, no classes, no images, or names that cannot be used.
    """
    if not root.is_dir():
        fix = "name the folder that holds a folder of images for each class"
        raise UserError(str(root), "no such folder", fix)
    walk = Walk(root)
    unknown = next((name for name in unlabelled if not (root / name).is_dir()), None)
    if unknown:
        what = f"{root} has no folder '{unknown}'"
        raise UserError("--unlabelled", what, nearest(unknown, walk.folders()))
    if names.tables(walk) and not names.has_classes(walk):
        seen, own = _by_tables(walk)
    else:
        seen, own = _by_folders(walk, unlabelled)
    where = {"source": own.pop("source"), "root": Because(str(root)), **own}
    where["classes"] = Because(seen.classes)
    listing = _listing(where)
    looked = headers(root, [file.path for file in listing.files])
    if not looked.sizes:
        raise UserError(str(root), "holds no images that can be read", "put images there")
    return Place(where, seen, listing, looked)


def _by_folders(walk: Walk, unlabelled: Sequence[str]) -> tuple[Names, dict[str, Because]]:
    seen = names.read(walk, unlabelled)
    own = {"source": Because("folder", "a folder of images for each class")}
    if seen.unlabelled:
        own["unlabelled"] = Because(seen.unlabelled, "folders of images without labels")
    return seen, own


def _by_tables(walk: Walk) -> tuple[Names, dict[str, Because]]:
    """Tables say the labels; the images that they do not name have none."""
    there = names.tables(walk)
    rows = [row for name in there for row in tables.read(walk.root, name)]
    good = [row for row in rows if not isinstance(row, UserError)]
    classes = sorted({row.label for row in good} - {""})
    said = ", ".join(there)
    if len(classes) < 2:
        what = f"names {len(classes)} classes in its column 'label', two are the fewest"
        raise UserError(f"{walk.root}/{said}", what, "label some images of each class")
    notes = [f"{said}: says which image is of which class"]
    own = {"manifest": Because(there, "tables of paths and labels")}
    named = {row.path for row in good}
    others = [f for f in walk.folders() if any(path not in named for path in walk.files(f))]
    if not others:
        return Names(classes, [], notes, []), {"source": Because("manifest"), **own}
    notes += [f"images in {', '.join(others)} that it does not name are taken to have no label"]
    own["unlabelled"] = Because(others, "folders of images, whose labels are in the table or none")
    return Names(classes, others, notes, []), {"source": Because("folder"), **own}


def _listing(where: Values) -> Listing:
    values = plain(where)
    split = {"labels_per_class": "all", "val": 0.0, "test": 0.0, "seed": 0}  # not asked for
    data = Data.model_validate(values | split)
    wanted = Wanted(data.classes, frozenset(data.classes))
    return SOURCES[data.source].listing(data, wanted)
