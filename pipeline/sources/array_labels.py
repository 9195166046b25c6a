"""What arrays say of images next to their pixels: labels, splits, classes; see `arrays`."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from pipeline.core.errors import UserError, nearest
from pipeline.sources.images import NO_LABEL, Found
from pipeline.sources.listing import HELD, shortened
from pipeline.sources.npy import Arrays
from pipeline.sources.stack import axis_of_channels

NEEDED = ("image", "label")
FORMS = {"image": "", "label": "iuUS", "split": "US", "classes": "US"}  # kinds of dtype
SPLITS = ("train", *HELD)


class Labels(NamedTuple):
    """Of N images.

    Attributes:
        label: int64 (N,), an index into `classes`; -1 = none.
        classes: names of all labels.
        given: text (N,): the split of each; "" = none.
    """

    label: np.ndarray
    classes: list[str]
    given: np.ndarray

    @property
    def brings(self) -> frozenset[str]:
        """Which of `val` and `test` there are."""
        return frozenset(np.unique(self.given).tolist()) & frozenset(HELD)

    def found(self) -> Found:
        """How many images there are."""
        held = {name: self._counts(self.given == name) for name in HELD if name in self.brings}
        unlabelled = int((self.label == NO_LABEL).sum())
        return Found(self._counts(~np.isin(self.given, HELD)), held, unlabelled)

    def _counts(self, chosen: np.ndarray) -> dict[str, int]:
        found = Counter(self.label[chosen].tolist())
        return {name: found[place] for place, name in enumerate(self.classes)}


def read(arrays: Arrays) -> Labels:
    """The labels of the array `image`, of which only the form is looked at.

    Raises:
        UserError: arrays that are missing, or not of the form that they should have; values that
            cannot be.
    """
    errors: list[UserError] = []
    _check_forms(arrays, errors)
    if errors:
        raise UserError.all(errors)
    classes = _texts(arrays, "classes", errors) if "classes" in arrays.names else None
    label, classes = _labels(arrays, classes, errors)
    given = np.full(len(label), "")
    if "split" in arrays.names:
        given = np.array(_texts(arrays, "split", errors))
        _check_splits(arrays.where("split"), given, label, errors)
    if errors:
        raise UserError.all(shortened(str(arrays.root), errors, "such faults"))
    return Labels(label, classes, given)


def _check_forms(arrays: Arrays, errors: list[UserError]) -> None:
    """Which arrays there are, of which type, and as many rows of each."""
    num = None
    for name in NEEDED:
        if name not in arrays.names:
            fix = f"save it by that name; there are: {', '.join(arrays.names) or 'none'}"
            errors.append(UserError(str(arrays.root), f"holds no array '{name}'", fix))
    for name in FORMS:
        try:
            header = arrays.header(name) if name in arrays.names else None
        except UserError as error:
            errors.append(error)
            continue
        if name == "image":
            num = header and header.shape[0]
        if found := header and _form_fault(name, *header, num):
            errors.append(UserError(arrays.where(name), *found))


def _form_fault(
    name: str, shape: tuple[int, ...], dtype: np.dtype, num: int | None
) -> tuple[str, str] | None:
    """What is wrong with an array by its shape and type, and how to mend it."""
    if name == "image":
        try:
            axis_of_channels(shape, dtype)
        except ValueError as error:
            return str(error), "save uint8: np.rint(255 * image).astype(np.uint8) if it is 0..1"
    elif dtype.kind not in FORMS[name]:
        words = "whole numbers or texts" if name == "label" else "texts"
        return f"is of type {dtype}, not {words}", "save it as such, with astype"
    elif len(shape) != 1:
        return f"is of shape {shape}, not of one axis", "save it with reshape(-1)"
    elif name != "classes" and num not in (None, shape[0]):
        return f"has {shape[0]} entries for {num} images", "save one for each image"
    return None


def _texts(arrays: Arrays, name: str, errors: list[UserError]) -> list[str]:
    """The values of an array of texts, perhaps in bytes."""
    values = arrays.read(name)
    try:
        return (values if values.dtype.kind == "U" else np.char.decode(values, "utf-8")).tolist()
    except UnicodeDecodeError:
        errors.append(UserError(arrays.where(name), "is not UTF-8", "save it as text"))
        return [""] * len(values)


def _labels(
    arrays: Arrays, classes: list[str] | None, errors: list[UserError]
) -> tuple[np.ndarray, list[str]]:
    """As indices, int64 (N,), and the classes that these are of."""
    texts = arrays.header("label").dtype.kind in "US"
    values = _texts(arrays, "label", errors) if texts else arrays.read("label")
    found, inverse = np.unique(values, return_inverse=True)
    names = {value: _name(value, classes) for value in found.tolist()}
    for value in [value for value, name in names.items() if name is None]:
        what = f"no class is called {value!r}" if texts else f"{value} is no label"
        fix = f"labels are 0 to {len(classes) - 1}, -1 = none" if classes else "-1 = no label"
        fix = nearest(value, classes) if texts else fix
        errors.append(UserError(arrays.where("label"), what, fix))
    classes = classes or [name for name in names.values() if name]
    place = {name: number for number, name in enumerate(classes)}
    table = np.array([place.get(name, NO_LABEL) for name in names.values()], dtype=np.int64)
    return table[inverse], classes


def _name(value: int | str, classes: list[str] | None) -> str | None:
    """The class that a label means; "" = none; None if it means nothing."""
    if value in ("", NO_LABEL):
        return ""
    if isinstance(value, str):
        return value if classes is None or value in classes else None
    if classes is None:
        return str(value) if value >= 0 else None
    return classes[value] if 0 <= value < len(classes) else None


def _check_splits(
    where: str, given: np.ndarray, label: np.ndarray, errors: list[UserError]
) -> None:
    for name in sorted(set(given.tolist()) - {"", *SPLITS}):
        errors.append(UserError(where, f"no split is called {name!r}", nearest(name, SPLITS)))
    bare = np.flatnonzero(np.isin(given, HELD) & (label == NO_LABEL)).tolist()
    if bare:
        what = f"{len(bare)} val or test images have no label, the first in row {bare[0]}"
        errors.append(UserError(where, what, "give them a label, or no split"))
