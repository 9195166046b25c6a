"""Images that are an array: an .npz file, or a folder of .npy files.

image      uint8 (N, C, H, W), (N, H, W, C) or (N, H, W); C is 1 or 3
label      (N,) whole numbers, -1 for an image without a label; or texts, "" for one without
split      (N,) texts, `train`, `val`, `test` or ""; may be left out
classes    (K,) texts: names of the labels that are numbers, which else are called by their
           number; or all texts that labels may be; may be left out
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.sources import array_labels
from pipeline.sources.images import Found, Images, Notes, Wanted
from pipeline.sources.npy import Arrays
from pipeline.sources.stack import stack

if TYPE_CHECKING:
    from pipeline.sources.options import Data

KEYS = {"size"}
OTHER_CLASSES = "images of classes that params do not name"


def read(data: Data, wanted: Wanted) -> Images:
    """Every image, of whatever class.

    Raises:
        UserError: no such arrays; those that cannot be read, or are not of the form above.
    """
    arrays = Arrays(Path(data.root))
    labels = array_labels.read(arrays)
    wanted.check(labels.classes)
    made = stack(arrays.pieces("image"), data.size)
    num = len(labels.label)
    return Images(
        image=made.image,
        row=np.arange(num),
        label=labels.label,
        classes=labels.classes,
        path=[f"{arrays.root.name}[{row}]" for row in range(num)],
        sha256=made.sha256,
        given=labels.given,
        brings=labels.brings,
        notes=Notes(ignored=_ignored(labels.found().training, wanted)),
    )


def look(data: Data, wanted: Wanted) -> Found:
    """How many there are.

    Raises:
        UserError: see `read`.
    """
    labels = array_labels.read(Arrays(Path(data.root)))
    wanted.check(labels.classes)
    found = labels.found()
    return found._replace(ignored=_ignored(found.training, wanted))


def _ignored(counts: dict[str, int], wanted: Wanted) -> dict[str, int]:
    num = sum(counts[name] for name in counts if name not in wanted.known)
    return {OTHER_CLASSES: num} if num else {}
