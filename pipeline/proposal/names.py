"""What the names in a folder say: classes, splits, images without labels; what they leave open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

from pipeline.core.errors import UserError
from pipeline.pages.formats import counted
from pipeline.sources.walk import Walk, join

# of folders that hold images without labels, written in small letters and without gaps
UNLABELLED = {"unlabelled", "unlabeled", "nolabel", "tolabel", "unsorted", "all", "inbox", "todo"}
SPLITS = ("train", "val", "test")
MISNAMED = {"validation": "val", "valid": "val", "dev": "val", "training": "train"}
TABLES = (".csv", ".tsv", ".parquet")
FAR = 10  # times as many images as the middle class
MANY = 100


class Names(NamedTuple):
    """What stands where.

    Attributes:
        classes: in the order of their names.
        unlabelled: folders from the root on.
        notes: what was decided by a name alone.
        doubts: what a person should look at, each with what to do.
    """

    classes: list[str]
    unlabelled: list[str]
    notes: list[str]
    doubts: list[str]


def read(walk: Walk, unlabelled: Sequence[str] = ()) -> Names:
    """Look at the folders in a root; no file is opened.

    Args:
        unlabelled: folders that a person says are without labels.

    Raises:
        UserError: fewer than two classes.
    """
    there = walk.folders()
    by_name = [name for name in there if _key(name) in UNLABELLED and name not in unlabelled]
    none = [*by_name, *unlabelled]
    split = "train" in there
    inside = [name for name in SPLITS if name in there] if split else [""]
    classes = sorted({c for given in inside for c in walk.folders(given)} - set(none))
    rest = [name for name in there if split and name not in (*SPLITS, *none)]
    if len(classes) < 2:
        raise _no_classes(walk, classes, [*none, *rest])
    notes = [f"'{name}' is taken for images without labels, by its name" for name in by_name]
    doubts = [*_unused(walk, rest), *_odd_names(classes, split), *_large(walk, classes, split)]
    doubts += [
        f"'{name}' is not used; if it has labels, name it in data.manifest" for name in tables(walk)
    ]
    return Names(classes, none, notes, [*doubts, *_loose(walk, inside)])


def tables(walk: Walk) -> list[str]:
    """Files in the root that may have labels."""
    return [name for name in walk.loose() if name.lower().endswith(TABLES)]


def has_classes(walk: Walk) -> bool:
    """Whether folders say what is on their images."""
    given = "train" if "train" in walk.folders() else ""
    return sum(_key(name) not in UNLABELLED for name in walk.folders(given)) > 1


def _key(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _no_classes(walk: Walk, classes: list[str], others: list[str]) -> UserError:
    deeper = [join(name, below) for name in [*classes, *others] for below in walk.folders(name)]
    what = f"holds {len(classes)} folders of classes, two are the fewest"
    fix = "make a folder for each class, named after it, and put a few of its images there"
    if deeper:
        some = ", ".join(deeper[:3])
        fix += f"; or name the folder that holds them (there are {some} below)"
    return UserError(str(walk.root), what, fix)


def _unused(walk: Walk, names: list[str]) -> Iterator[str]:
    """Folders beside `train`, which are no classes."""
    for name in names:
        num = _count(walk, name)
        meant = MISNAMED.get(name.lower())
        fix = f"rename it to '{meant}'" if meant else f"use `--unlabelled {name}`"
        whose = "they are that split" if meant else "they have no labels"
        held = counted(num, "file")
        yield f"'{name}' ({held}) stands beside 'train' and is not used; if {whose}, {fix}"


def _odd_names(classes: list[str], split: bool) -> Iterator[str]:
    """Classes that are called like splits."""
    for name in [] if split else classes:
        if name.lower() in {*SPLITS, *MISNAMED}:
            yield (
                f"'{name}' is taken for a class; if it is a split, put the training images of each "
                f"class into train/<class>"
            )


def _large(walk: Walk, classes: list[str], split: bool) -> Iterator[str]:
    counts = {name: _count(walk, join("train" if split else "", name)) for name in classes}
    usual = median(counts.values())
    for name, num in counts.items():
        if num >= MANY and num > FAR * usual:
            yield (
                f"'{name}' is taken for a class, of {num:,} images where others have {usual:g}; if "
                f"they have no labels, use `--unlabelled {join('train' if split else '', name)}`"
            )


def _loose(walk: Walk, inside: list[str]) -> Iterator[str]:
    loose = [name for folder in {"", *inside} for name in walk.loose(folder)]
    num = sum(not name.lower().endswith(TABLES) for name in loose)
    if num:
        yield (
            f"outside the folders of classes: {counted(num, 'file')}, not used; if these are "
            "images without labels, move them into a folder 'unlabelled'"
        )


def _count(walk: Walk, folder: str) -> int:
    return sum(1 for _ in walk.files(folder)) if (walk.root / folder).is_dir() else 0
