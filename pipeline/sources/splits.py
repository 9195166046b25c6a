"""Which images are labelled, unlabelled, val and test: a function of content and `data.seed`.

Each image has two uniform numbers that depend on its pixels and the seed alone. The first says
whether it is test, val or training, so that new photos do not move an old one to another split,
and copies of one image always land together. The second orders the training images of a class:
the first `labels_per_class` are the labelled ones. Images without a label are unlabelled.

A class whose numbers leave none for val or test gives it the image whose number is the next: in
classes of a few images one photo more may then change places with another.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from pipeline.core.block import LabelsPerClass
from pipeline.core.errors import UserError
from pipeline.sources.images import Images
from pipeline.sources.options import Data


class Rule(NamedTuple):
    """How to split.

    Attributes:
        labels_per_class: labelled images of each class, or `all`.
        val, test: shares of the images with labels, 0..1 (met in expectation: each image decides
            alone).
        seed: another seed, other splits.
        fold: which part of the numbers is val; each fold has other images.
        key: of params.yaml that gave `labels_per_class`, for messages.
    """

    labels_per_class: LabelsPerClass
    val: float
    test: float
    seed: int
    fold: int = 0
    key: str = "data.labels_per_class"

    @classmethod
    def of(cls, data: Data, labels_per_class: LabelsPerClass, block: str) -> "Rule":
        """That of a data set whose own number of labels stands in `block` of params.yaml."""
        key = f"{block}.labels_per_class"
        return cls(labels_per_class, data.val, data.test, data.seed, data.fold, key)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """The numbers from .. to below that are test and val."""
        start = self.test + self.fold * self.val
        return {"test": (0.0, self.test), "val": (start, start + self.val)}


def split(images: Images, rule: Rule) -> np.ndarray:
    """The split of each image.

    Args:
        images: N, of different content; what the source gives to `test` stays test, to `val` val,
            and the shares are of the others.

    Returns:
        an array of the names in `store.SPLITS`, (N,).

    Raises:
        UserError: a class has too few training images, none is val, or both the source and the
            params say which images are val or test.
    """
    check_shares(rule, images.brings)
    place = np.array([_uniform(rule.seed, "split", h) for h in images.sha256])
    order = np.array([_uniform(rule.seed, "labelled", h) for h in images.sha256])
    result = np.full(len(place), "unlabelled", dtype="<U10")
    has_label = images.label >= 0
    for name in () if images.given is None else ("val", "test"):
        result[images.given == name] = name
    free = has_label & (result == "unlabelled")
    for name, (start, stop) in rule.ranges().items():
        result[free & (place >= start) & (place < stop)] = name
    for name, (start, stop) in rule.ranges().items():
        if stop > start:
            _give_one_of_each_class(result, name, images.label, place - start)
    _check_there(result, images, rule)
    training = np.flatnonzero(has_label & (result == "unlabelled"))
    label = images.label[training]
    counts = np.bincount(label, minlength=len(images.classes)).tolist()
    check_enough(dict(zip(images.classes, counts)), rule)
    chosen = training
    if rule.labels_per_class != "all":
        chosen = training[_lowest(order[training], label, rule.labels_per_class)]
    result[chosen] = "labelled"
    return result


def _give_one_of_each_class(
    result: np.ndarray, name: str, label: np.ndarray, distance: np.ndarray
) -> None:
    """Of each class without an image in the split, that training image whose number comes next
    goes there, if another one stays."""
    for c in np.setdiff1d(label[label >= 0], label[result == name]):
        rows = np.flatnonzero((label == c) & (result == "unlabelled"))
        if len(rows) > 1:
            result[rows[np.argmin(distance[rows] % 1)]] = name


def _check_there(result: np.ndarray, images: Images, rule: Rule) -> None:
    errors = []
    for name, share in (("val", rule.val), ("test", rule.test)):
        asked = share > 0 or name in images.brings
        if asked and not (result == name).any():
            num = int((images.label >= 0).sum())
            what = f"of {num} images of {', '.join(images.classes)} none falls into {name}"
            fix = "add images" if name in images.brings else "raise it, or add images"
            errors.append(UserError(f"data.{name}", what, fix))
    if errors:
        raise UserError.all(errors)


def check_enough(counts: Mapping[str, int], rule: Rule) -> None:
    """Refuse classes with fewer images than shall be labelled.

    Args:
        counts: training images of each class that have a label.

    Raises:
        UserError: a line for each such class.
    """
    every = rule.labels_per_class == "all"
    least = 1 if every else rule.labels_per_class
    less = "val or test, or leave the class out" if every else "labels_per_class, val or test"
    errors = [
        UserError(
            rule.key,
            f"class '{name}' has {num} training images, {least} are asked for",
            f"add images, or lower {less}",
        )
        for name, num in counts.items()
        if num < least
    ]
    if errors:
        raise UserError.all(errors)


def _lowest(order: np.ndarray, label: np.ndarray, num: int) -> np.ndarray:
    """Of each class the rows with its `num` lowest numbers; one sort for all classes."""
    rows = np.lexsort((order, label))
    count = np.bincount(label)
    rank = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    return rows[rank < num]


def check_shares(rule: Rule, brings: Collection[str]) -> None:
    """Val comes from the source or from a share of the training images, test perhaps from one.

    Args:
        brings: which of val and test the source brings.

    Raises:
        UserError: both, or no val at all.
    """
    for name, share in (("val", rule.val), ("test", rule.test)):
        if share and name in brings:
            what = f"{share:g}, but the source brings its own {name} images"
            raise UserError(f"data.{name}", what, "set it to 0")
    if not rule.val and "val" not in brings:
        what = (
            "0, and the source brings no val images of its own: nothing could say which model is "
            "better, whether a student may ship, or how sure a model may be"
        )
        raise UserError("data.val", what, "set it to a share of the labelled images, say 0.2")


def _uniform(seed: int, purpose: str, content: str) -> float:
    """A number in [0, 1) from 53 bits of a hash."""
    word = hashlib.sha256(f"{seed}/{purpose}/{content}".encode()).digest()
    return (int.from_bytes(word[:8], "little") >> 11) / 2**53
