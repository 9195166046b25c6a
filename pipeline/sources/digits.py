"""scikit-learn's 1,797 real handwritten digits of 8x8 pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.block import Fault
from pipeline.sources.decoder import identity
from pipeline.sources.images import Images, Wanted

if TYPE_CHECKING:
    from pipeline.sources.options import Data

KEYS = {"size"}


def read(data: Data, wanted: Wanted) -> Images:
    """scikit-learn's 1,797 real 8x8 digits, grey values 0..16 spread over 0..255."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    image = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]  # (N, 1, 8, 8)
    path = [f"digits/{row:04d}" for row in range(len(image))]
    return Images(
        image=image,
        row=np.arange(len(image)),
        label=bunch.target.astype(np.int64),
        classes=[str(c) for c in range(10)],
        path=path,
        sha256=[identity(one.tobytes(), one.shape) for one in image],
    )


def faults(data: Data) -> Iterator[Fault]:
    """What the digits cannot be asked for: another size, and val images of their own."""
    if data.size not in (0, 8):
        yield Fault("size", f"the digits are 8x8, not {data.size}", "leave it out")
    if not data.val:
        what = "0, and the digits bring no val images of their own"
        yield Fault("val", what, "set it to a share of all images, say 0.2")
