"""Image files by name: which there are, of which class, and their pixels when they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.core.errors import UserError
from pipeline.sources.decoding import Decoded, decode_all
from pipeline.sources.images import NO_LABEL, NONE, Found, Images, Notes

if TYPE_CHECKING:
    from pipeline.sources.options import Data

HELD = ("val", "test")
SHOWN = 20  # faults named one by one


class File(NamedTuple):
    """An image file."""

    path: str  # from the root on
    label: str = ""  # name of its class; "" = none
    given: str = ""  # `train`, `val` or `test`, where the source says so


class Listing(NamedTuple):
    """The image files of a source.

    Attributes:
        root: folder that the paths start from; nothing outside it is read.
        files: each once.
        classes: names of all classes that the source has, those without an image too.
        brings: which of `val` and `test` the source brings.
        ignored: what was left out, by kind.
    """

    root: Path
    files: list[File]
    classes: list[str]
    brings: frozenset[str] = frozenset()
    ignored: Mapping[str, int] = NONE

    def found(self) -> Found:
        """How many there are."""
        held = {
            name: Counter(file.label for file in self.files if file.given == name)
            for name in HELD
            if name in self.brings
        }
        training = Counter(f.label for f in self.files if f.given not in HELD)
        unlabelled = training.pop("", 0)
        known = {name: training[name] for name in self.classes}
        return Found(known, held, unlabelled, self.ignored)

    def read(self, data: Data) -> Images:
        """Decode all files.

        Images become RGB, upright by their EXIF tag. With `data.size` the shorter side is resized
        to it (antialiased bilinear) and the middle square kept; without, all must be of one size.

        Raises:
            UserError: no images, images that cannot be read (all of them, in one pass) or are of
                several sizes; the disk is full.
        """
        if not self.files:
            fix = "put a folder of images for each class there"
            raise UserError(str(self.root), "holds no images", fix)
        decoded = decode_all(self.root, [file.path for file in self.files], data.size)
        skipped = {self.files[row].path: why for row, why in decoded.faults.items()}
        self._check(decoded, {} if data.on_bad_image == "skip" else skipped)
        good = [row for row in range(len(self.files)) if row not in decoded.faults]
        kept = [self.files[row] for row in good]
        place = {name: label for label, name in enumerate(self.classes)} | {"": NO_LABEL}
        return Images(
            image=decoded.image,
            row=decoded.row[good],
            label=np.array([place[file.label] for file in kept], dtype=np.int64),
            classes=self.classes,
            path=[file.path for file in kept],
            sha256=[decoded.sha256[row] for row in good],
            given=np.array([file.given for file in kept]),
            brings=self.brings,
            notes=Notes(skipped, decoded.converted, self.ignored, decoded.own_sizes),
        )

    def _check(self, decoded: Decoded, bad: Mapping[str, str]) -> None:
        fix = "replace or remove it, or set data.on_bad_image: skip"
        faults = [UserError(f"{self.root}/{path}", why, fix) for path, why in bad.items()]
        if faults:
            raise UserError.all(shortened(f"{self.root}", faults, "images cannot be read"))
        if len(decoded.faults) == len(self.files):
            what = f"none of its {len(self.files)} images can be read"
            raise UserError(str(self.root), what, "set data.on_bad_image: error to see why")
        if len(decoded.sizes) > 1:
            sizes = sorted(decoded.sizes)
            some = ", ".join(f"{width}x{height}" for height, width in sizes[:3])
            what = f"images of {len(sizes)} sizes ({some}{', ...' if len(sizes) > 3 else ''})"
            raise UserError(str(self.root), what, "set data.size, the side to store them at")


def shortened(where: str, faults: list[UserError], what: str) -> list[UserError]:
    """The first faults, and how many more there are."""
    more = len(faults) - SHOWN
    if more <= 0:
        return faults
    said = f"{more} more {what} ({len(faults)} in all)"
    return [*faults[:SHOWN], UserError(where, said, "replace or remove them")]
