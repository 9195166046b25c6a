"""Which images are labelled, unlabelled, val and test: a function of content and `data.seed`.

Each image has two uniform numbers that depend on its pixels and the seed alone. The first says
whether it is test, val or training, so that new photos never move an old one to another split,
and copies of one image always land together. The second orders the training images of a class:
the first `labels_per_class` are the labelled ones.
"""

import hashlib
from collections.abc import Collection

import numpy as np

from pipeline.core.errors import UserError


def split(
    sha256: list[str],
    label: np.ndarray,
    classes: list[str],
    *,
    labels_per_class: int,
    val: float,
    test: float,
    seed: int,
    key: str = "data.labels_per_class",
    given: np.ndarray | None = None,
    brings: Collection[str] = (),
) -> np.ndarray:
    """The split of each image.

    Args:
        sha256: the content hash of each image, (N,), without repeats.
        label: class of each image, (N,).
        classes: class names; the labels' range.
        labels_per_class: labelled images of each class.
        val, test: shares of all images, 0..1 (met in expectation: each image decides alone).
        seed: another seed, other splits.
        key: of params.yaml that gave `labels_per_class`, for messages.
        given: `train`, `val` or `test` (N,) where the source says so: `test` stays test, `val`
            stays val, and the shares are of `train`.
        brings: which of val and test the source brings, perhaps for other classes only.

    Returns:
        an array of the names in `store.SPLITS`, (N,).

    Raises:
        UserError: a class has too few training images, none is val or test, or both the source and
            the params say which images are, or neither.
    """
    _check_shares({"val": val, "test": test}, brings)
    place = np.array([_uniform(seed, "split", h) for h in sha256])
    order = np.array([_uniform(seed, "labelled", h) for h in sha256])
    result = np.full(len(sha256), "unlabelled", dtype="<U10")
    result[place < test + val] = "val"
    result[place < test] = "test"
    for name in () if given is None else ("val", "test"):
        result[given == name] = name
    for name in ("val", "test"):
        if not (result == name).any():
            what = f"of {len(sha256)} images of {', '.join(classes)} none falls into {name}"
            fix = "add images" if name in brings else "raise it, or add images"
            raise UserError(f"data.{name}", what, fix)
    training = np.flatnonzero(result == "unlabelled")
    _check_enough(label[training], classes, labels_per_class, key)
    result[training[_lowest(order[training], label[training], labels_per_class)]] = "labelled"
    return result


def _check_enough(label: np.ndarray, classes: list[str], labels_per_class: int, key: str) -> None:
    for name, num in zip(classes, np.bincount(label, minlength=len(classes)).tolist()):
        if num < labels_per_class:
            raise UserError(
                key,
                f"class '{name}' has {num} training images, {labels_per_class} are asked for",
                "lower labels_per_class, val or test, or add images",
            )


def _lowest(order: np.ndarray, label: np.ndarray, num: int) -> np.ndarray:
    """Of each class the rows with its `num` lowest numbers; one sort for all classes."""
    rows = np.lexsort((order, label))
    count = np.bincount(label)
    rank = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    return rows[rank < num]


def _check_shares(shares: dict[str, float], brings: Collection[str]) -> None:
    """Each of val and test comes either from the source or from a share of the training images."""
    for name, share in shares.items():
        if share and name in brings:
            what = f"{share:g}, but the source brings its own {name} images"
            raise UserError(f"data.{name}", what, "set it to 0")
        if not share and name not in brings:
            what = f"0, and the source brings no {name} images of its own"
            raise UserError(f"data.{name}", what, "set it to a share of all images, say 0.2")


def first_copies(sha256: list[str], label: np.ndarray, path: list[str]) -> np.ndarray:
    """Rows without exact copies: the first of each content, (M,).

    Raises:
        UserError: copies with different labels, named.
    """
    first: dict[str, int] = {}
    clashes = []
    for row, content in enumerate(sha256):
        kept = first.setdefault(content, row)
        if label[kept] != label[row]:
            clashes.append(
                UserError(
                    path[row],
                    f"has the pixels of {path[kept]} but another label",
                    "give both one label, or remove one",
                )
            )
    if clashes:
        raise UserError.all(clashes)
    return np.array(list(first.values()), dtype=np.int64)


def _uniform(seed: int, purpose: str, content: str) -> float:
    """A number in [0, 1) from 53 bits of a hash."""
    word = hashlib.sha256(f"{seed}/{purpose}/{content}".encode()).digest()
    return (int.from_bytes(word[:8], "little") >> 11) / 2**53
