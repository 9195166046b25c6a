"""Near-duplicates of a data set by their paths; found once for the same images."""

from __future__ import annotations

import json

import numpy as np

from pipeline.core import files, machine
from pipeline.sources.duplicates import SMALLEST, near_duplicates
from pipeline.sources.images import Images

RULES = 1  # of what counts as alike: raise it when that changes, and all are sought anew


def alike(images: Images, parts: np.ndarray) -> list[list]:
    """Rows of two paths, their splits, and how alike they are, 0..1; none of two unlabelled images.

    Args:
        parts: the split of each image, (N,).
    """
    of = parts != "unlabelled"
    if min(images.image.shape[2:]) < SMALLEST:
        return []
    return [
        [images.path[one], images.path[other], str(parts[one]), str(parts[other]), similarity]
        for one, other, similarity in _pairs(images, of)
    ]


def _pairs(images: Images, of: np.ndarray) -> list[list]:
    """Places of both and their similarity, from the last time if the images are the same."""
    key = files.digest([RULES, images.sha256, of.tolist()])
    path = machine.root() / ".lineage" / "alike" / f"{key}.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    found = near_duplicates(images.image, images.row, of)
    similarity = [round(float(value), 3) for value in found.similarity]
    pairs = [[*pair, value] for pair, value in zip(found.pair.tolist(), similarity)]
    files.write_text(path, json.dumps(pairs))
    return pairs
