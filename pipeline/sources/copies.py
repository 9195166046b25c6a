"""Images of the same pixels: one stays, the one that costs least to keep apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pipeline.core.errors import UserError
from pipeline.pages.formats import counted
from pipeline.sources.images import Images
from pipeline.sources.listing import shortened

# which of two copies stays: the one that comes first; never one to learn from
PLACES = ("test", "val", "labelled", "unlabelled")


class Copies(NamedTuple):
    """What became of the copies.

    Attributes:
        kept: rows of the images that stay, one of each content, in their order, int64 (M,).
        left_out: how many do not, by where they stood and where the one that stays does, e.g.
            `("unlabelled", "test")`.
    """

    kept: np.ndarray
    left_out: Mapping[tuple[str, str], int]


def without_copies(images: Images, remove: bool) -> Copies:
    """Choose which images stay.

    Args:
        remove: leave out training images with the pixels of a val or test image that the source
            brings, rather than refuse them.

    Raises:
        UserError: copies with different labels; training images that are val or test as well; all
            in one pass.
    """
    place, kept = _places(images), {}
    for row in np.argsort(place, kind="stable").tolist():
        kept.setdefault(images.sha256[row], row)
    pairs = [(row, kept[content]) for row, content in enumerate(images.sha256)]
    pairs = [(row, first) for row, first in pairs if row != first]
    errors = _clashes(images, pairs) + ([] if remove else _leaks(images, pairs, place))
    if errors:
        raise UserError.all(shortened("data", errors, "such images"))
    names = [(PLACES[place[row]], PLACES[place[first]]) for row, first in pairs]
    return Copies(np.array(sorted(kept.values()), dtype=np.int64), Counter(names))


def _places(images: Images) -> np.ndarray:
    """For each image the place in `PLACES` that the source gives it, (N,)."""
    place = np.where(images.label < 0, 3, 2)
    for number, name in enumerate(PLACES[:2]):
        if images.given is not None:
            place[images.given == name] = number
    return place


def _clashes(images: Images, pairs: list[tuple[int, int]]) -> list[UserError]:
    label, path = images.label, images.path
    return [
        UserError(
            path[row],
            f"has the pixels of {path[first]} but another label",
            "give both one label, or remove one",
        )
        for row, first in pairs
        if label[row] >= 0 and label[row] != label[first]
    ]


def _leaks(images: Images, pairs: list[tuple[int, int]], place: np.ndarray) -> list[UserError]:
    """An error for val and one for test: how many of its images are training images too."""
    errors = []
    for number, name in enumerate(PLACES[:2]):
        both = [(row, first) for row, first in pairs if place[first] == number < place[row] < 3]
        if both:
            some = ", ".join(f"{images.path[r]} = {images.path[f]}" for r, f in both[:3])
            what = f"{counted(len(both), f'{name} image')} among the training images: {some}"
            what += ", ..." if len(both) > 3 else ""
            fix = "remove these, or set data.on_duplicate: remove"
            errors.append(UserError("data", what, fix))
    return errors
