"""What a source of images gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from pipeline.core.errors import UserError, nearest
from pipeline.data.kinds import UNKNOWN

NO_LABEL = -1
NONE: Mapping = MappingProxyType({})


class Wanted(NamedTuple):
    """The classes to read.

    Attributes:
        classes: of this data set, in order.
        known: every class that params name, for this data set or another.
        key: of params.yaml that names `classes`, for messages.
    """

    classes: list[str]
    known: frozenset[str]
    key: str = "data.classes"

    def faults(self, there: list[str]) -> list[UserError]:
        """Classes that a source, with those that are `there`, does not have."""
        return [
            UserError(self.key, f"no class is called '{name}'", nearest(name, there))
            for name in self.classes
            if name not in there
        ]

    def check(self, there: list[str]) -> None:
        """Refuse what `faults` names.

        Raises:
            UserError: a line for each.
        """
        if faults := self.faults(there):
            raise UserError.all(faults)


class Notes(NamedTuple):
    """What a source has to say of the files that it found.

    Attributes:
        skipped: files that are no images or broken ones, and why.
        converted: images by what was done to make them 8-bit RGB, e.g. `CMYK`.
        ignored: files and folders that were left out, by kind.
        sizes: files by their own width and height, the most frequent first.
    """

    skipped: Mapping[str, str] = NONE
    converted: Mapping[str, int] = NONE
    ignored: Mapping[str, int] = NONE
    sizes: Mapping[tuple[int, int], int] = NONE


class Found(NamedTuple):
    """What a source has, by its files' names alone.

    Attributes:
        training: labelled images by class, but for those that the source gives to val or test.
        held: of those by class, by `val` and `test`, where the source brings such.
        unlabelled: images without a label.
        ignored: as in `Notes`.
    """

    training: Mapping[str, int]
    held: Mapping[str, Mapping[str, int]] = NONE
    unlabelled: int = 0
    ignored: Mapping[str, int] = NONE


@dataclass(frozen=True)
class Images:
    """The images of a source, or some of them.

    Attributes:
        image: uint8 (M, C, H, W), all that the source has, perhaps memory-mapped.
        row: where each image stands in `image`, int64 (N,).
        label: int64 (N,), an index into `classes`; -1 for an image without a label.
        classes: names of the labels.
        path: where each image came from, for people (N,).
        sha256: the identity of each, of its pixels and shape (N,): see `decoder.identity`.
        given: the split that the source itself puts each image in, `train`, `val` or `test` (N,);
            None if it has none.
        brings: which of `val` and `test` the source brings, perhaps for other classes only.
        notes: on the files.
        mask: of a source whose `KIND` is segmentation, the class of each pixel, uint8 (M, H, W): 0
            for the background, c + 1 for class c; None without.
    """

    image: np.ndarray
    row: np.ndarray
    label: np.ndarray
    classes: list[str]
    path: list[str]
    sha256: list[str]
    given: np.ndarray | None = None
    brings: frozenset[str] = frozenset()
    notes: Notes = Notes()
    mask: np.ndarray | None = None

    def take(self, chosen: np.ndarray) -> Images:
        """Only the images `chosen`, int64 (n,); no pixel is copied."""
        return replace(
            self,
            row=self.row[chosen],
            label=self.label[chosen],
            path=[self.path[i] for i in chosen],
            sha256=[self.sha256[i] for i in chosen],
            given=None if self.given is None else self.given[chosen],
        )

    def of(self, wanted: Wanted) -> Images:
        """Only the images of the classes that are wanted, labelled by their position among them,
        and those without a label.

        Raises:
            UserError: a name that the source does not know.
        """
        wanted.check(self.classes)
        position = {name: place for place, name in enumerate(wanted.classes)}
        leave = NO_LABEL - 1
        # the last entry is that of -1
        table = np.array([*(position.get(name, leave) for name in self.classes), NO_LABEL])
        label = table[self.label]
        chosen = np.flatnonzero(label != leave)
        mask = self.mask
        if mask is not None:  # of classes that are not wanted nothing is known
            known = np.where(table[:-1] < 0, UNKNOWN, table[:-1] + 1)
            mask = np.array([0, *known], dtype=np.uint8)[mask]
        taken = self.take(chosen)
        return replace(taken, label=label[chosen], classes=list(wanted.classes), mask=mask)
