"""The prepared data set on disk: named uint8 arrays, memory-mapped, hashed.

<folder>/dataset.json                classes, shapes, normalisation, counts, hashes of arrays
<folder>/<split>/<array>.npy         `image` uint8 (N, C, H, W); `label` int64 (N,)
<folder>/unlabelled/truth.npy        labels of the unlabelled images, where known: for reports
<folder>/index.csv                   one line an image: id, path, split, sha256
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.core import files
from pipeline.core.errors import UserError

SCHEMA = 1
SPLITS = ("labelled", "unlabelled", "val", "test")


@dataclass(frozen=True)
class Dataset:
    """A prepared data set; arrays are read, and their hashes checked, when asked for."""

    folder: Path
    card: dict

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the labels."""
        return self.card["classes"]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return tuple(self.card["image_shape"])

    def describe(self) -> str:
        """Images per split, for people."""
        counts = {name: sum(classes.values()) for name, classes in self.card["counts"].items()}
        copies = self.card["copies_left_out"]
        shown = ", ".join(f"{count} {name}" for name, count in counts.items())
        return f"{shown}; {copies} exact copies left out"

    def array(self, split: str, name: str = "image") -> np.ndarray:
        """One array, memory-mapped read-only.

        Raises:
            UserError: it is missing, or its bytes are not those that `prepare` wrote.
        """
        key = f"{split}/{name}.npy"
        path = self.folder / key
        if key not in self.card["sha256"]:
            raise UserError(str(path), "the data set has no such array", "run `prepare` again")
        files.check_sha256(path, self.card["sha256"][key])
        return np.load(path, mmap_mode="r")

    def digest(self, split: str) -> str:
        """The hash that stands for a split's images."""
        return self.card["sha256"][f"{split}/image.npy"]


def load(folder: Path | str) -> Dataset:
    """Open a prepared data set.

    Raises:
        UserError: no data set there, or one of another version.
    """
    folder = Path(folder)
    return Dataset(folder, files.read_sealed(folder / "dataset.json", SCHEMA))


def save(
    folder: Path | str,
    images: np.ndarray,
    labels: np.ndarray,
    split: np.ndarray,
    *,
    classes: list[str],
    path: list[str],
    sha256: list[str],
    copies: int = 0,
) -> Dataset:
    """Write a data set.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,).
        split: name of each image's split, (N,).
        classes: class names in the order of the labels.
        path: where each image came from, (N,).
        sha256: each image's content hash, (N,).
        copies: exact copies that were left out, to be reported.
    """
    folder = Path(folder)
    hashes = {}
    for name in SPLITS:
        rows = np.flatnonzero(split == name)
        label_name = "truth" if name == "unlabelled" else "label"
        for array, values in (("image", images[rows]), (label_name, labels[rows])):
            key = f"{name}/{array}.npy"
            buffer = io.BytesIO()
            np.save(buffer, values, allow_pickle=False)
            files.write_bytes(folder / key, buffer.getvalue())
            hashes[key] = files.sha256(folder / key)
    mean, std = _normalisation(images[(split == "labelled") | (split == "unlabelled")])
    counts = {
        name: {c: int(((labels == i) & (split == name)).sum()) for i, c in enumerate(classes)}
        for name in SPLITS
    }
    card = {
        "schema": SCHEMA,
        "kind": "classification",
        "classes": classes,
        "image_shape": list(images.shape[1:]),
        "normalisation": {"mean": mean, "std": std},
        "counts": counts,
        "copies_left_out": copies,
        "sha256": hashes,
    }
    _write_index(folder / "index.csv", zip(path, split.tolist(), sha256))
    return Dataset(folder, files.write_sealed(folder / "dataset.json", card))


def _normalisation(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel on the 0..1 scale, from the training images;
    through a histogram, which is exact and needs no float copy of the set."""
    mean, std = [], []
    values = np.arange(256) / 255
    for channel in range(images.shape[1]):
        count = np.bincount(images[:, channel].ravel(), minlength=256)
        share = count / count.sum()
        centre = float((share * values).sum())
        mean.append(round(centre, 6))
        std.append(round(max(float((share * (values - centre) ** 2).sum()) ** 0.5, 1e-3), 6))
    return mean, std


def _write_index(path: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "path", "split", "sha256"])
    writer.writerows([number, *row] for number, row in enumerate(rows))
    files.write_text(path, text.getvalue())
