"""Draw operations over the magnitude scale: `python -m benchmarks.augment_picture FILE.png`."""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor

from pipeline.augment import OPS, RandAugment
from pipeline.augment.scale import OP, SIGNED, kind_of

matplotlib.use("Agg")
BINS = (-30, -20, -10, 0, 10, 20, 30)


def photograph(size: int) -> Tensor:
    """uint8 (1, 3, size, size): the pagoda that comes with scikit-learn."""
    image = load_sample_images().images[0][20:420:4, 120:520:4][:size, :size]
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None]


def grid(image: Tensor) -> list[list[Tensor | None]]:
    """One row per operation, one column per bin; None left of 0 for operations without a sign."""
    augment = RandAugment(n=1)
    rows = []
    for name in OPS:
        kinds = [
            kind_of(OP[name], bins) if bins >= 0 or SIGNED[OP[name]] else None for bins in BINS
        ]
        rows.append(
            [
                None if kind is None else augment(image, {"kind": np.array([[kind]])})
                for kind in kinds
            ]
        )
    return rows


def draw(rows: list[list[Tensor | None]], file: Path) -> None:
    """Save the grid, operations named on the left and bins on top."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(rows), len(BINS), figsize=(6.2, 11.0), squeeze=False)
    for name, row, places in zip(OPS, rows, axes):
        for bins, seen, place in zip(BINS, row, places):
            place.set(xticks=[], yticks=[], frame_on=False)
            if seen is not None:
                place.imshow(seen[0].permute(1, 2, 0).numpy(), interpolation="nearest")
            if name == OPS[0]:
                place.set_title(f"{bins:+d}" if bins else "0", fontsize=9)
        places[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    figure.subplots_adjust(
        left=0.16, right=0.995, top=0.975, bottom=0.005, wspace=0.04, hspace=0.04
    )
    figure.savefig(file, dpi=70)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    draw(grid(photograph(100)), options.file)


if __name__ == "__main__":
    main()
