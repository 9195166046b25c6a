"""Near-duplicates of a data set by their paths and splits; found once for the same images."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.core import files, machine
from pipeline.data.store import SPLITS, Dataset
from pipeline.sources.duplicates import SMALLEST, near_duplicates

RULES = 1  # of what counts as alike: raise it when that changes, and all are sought anew
MOST = 2000  # labelled, val and test images, up to which `prepare` looks: seconds
COLUMNS = ["path", "other", "split", "other_split", "similarity"]


class Stacked:
    """Arrays of images (N1, C, H, W), (N2, C, H, W), ... as if they were one behind the other;
    nothing is copied but what is asked for."""

    def __init__(self, parts: Sequence[np.ndarray]):
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])
        self.shape = (int(self._ends[-1]), *parts[0].shape[1:])

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """uint8 (n, C, H, W) of rows, int64 (n,)."""
        made = np.empty((len(rows), *self.shape[1:]), dtype=np.uint8)
        which = np.searchsorted(self._ends, rows, side="right")
        for number, part in enumerate(self._parts):
            here = which == number
            made[here] = part[rows[here] - (self._ends[number] - len(part))]
        return made


def alike(dataset: Dataset, most: int | None = None) -> list[list] | None:
    """A row of two paths, their splits and how alike they are, 0..1, for each pair of labelled, val
    or test images, or of one of those and an unlabelled one.

    Args:
        most: such images to look at; with more there is no answer, None.
    """
    of = np.repeat([name != "unlabelled" for name in SPLITS], [dataset.num(s) for s in SPLITS])
    if min(dataset.image_shape[1:]) < SMALLEST:
        return []
    if most is not None and of.sum() > most:
        return None
    paths = [path for name in SPLITS for path in dataset.paths(name)]
    split = [name for name in SPLITS for _ in range(dataset.num(name))]
    return [
        [paths[one], paths[other], split[one], split[other], similarity]
        for one, other, similarity in _pairs(dataset, of)
    ]


def _pairs(dataset: Dataset, of: np.ndarray) -> list[list]:
    """Places of both and their similarity, from the last time if the images are the same."""
    key = files.digest([RULES, [dataset.digest(name) for name in SPLITS]])
    path = machine.root() / ".lineage" / "alike" / f"{key}.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    images = Stacked([dataset.array(name) for name in SPLITS])
    found = near_duplicates(images, np.arange(len(of)), of)
    similarity = [round(float(value), 3) for value in found.similarity]
    pairs = [[*pair, value] for pair, value in zip(found.pair.tolist(), similarity)]
    files.write_text(path, json.dumps(pairs))
    return pairs


def write(path: Path, rows: list[list]) -> None:
    """Write the rows of `alike` as CSV, with the columns `COLUMNS`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    files.write_text(path, text.getvalue())
