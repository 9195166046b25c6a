"""The prepared data set on disk: named uint8 arrays, memory-mapped, hashed.

<folder>/dataset.json                classes, shapes, normalisation, counts, hashes of arrays
<folder>/<split>/<array>.npy         `image` uint8 (N, C, H, W); `label` int64 (N,)
<folder>/unlabelled/truth.npy        labels of the unlabelled images for reports, -1 = not known
                                     of `kind` segmentation both are masks, uint8 (N, H, W), with
                                     255 where nobody knows a pixel's class
<folder>/index.csv                   one line an image: id, path, split, sha256
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.data.kinds import BACKGROUND, CLASSIFICATION, SEGMENTATION, UNKNOWN, is_dense

PREPARED = Path("data/prepared")
SCHEMA = 2  # 2: images whose label nobody knows
SPLITS = ("labelled", "unlabelled", "val", "test")
TRAINING = ("labelled", "unlabelled")
PIECE = 1 << 18  # bytes of an array in memory at a time: few enough for a core's own cache


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
        copies = self.card["copies_left_out"]
        shown = ", ".join(f"{self.num(name)} {name}" for name in self.card["counts"])
        return f"{shown}; {copies} exact copies left out"

    def num(self, split: str) -> int:
        """Images of a split, as the card counts them: no array is read for it."""
        unknown = self.card["without_label"] if split == "unlabelled" else 0
        return sum(self.card["counts"][split].values()) + unknown

    def paths(self, split: str) -> list[str]:
        """Where each image of a split came from, in the order of its arrays.

        Raises:
            UserError: the index is not the one that `prepare` wrote.
        """
        path = self.folder / "index.csv"
        files.check_sha256(path, self.card["index_sha256"])
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            next(rows)  # the header
            return [origin for _, origin, where, _ in rows if where == split]

    def truth(self) -> np.ndarray:
        """Labels of the unlabelled images, int64 (N,) or, of a segmentation, (N, H, W); -1 where
        nobody knows: for reports alone."""
        truth = self.array("unlabelled", "truth")
        return np.where(truth == UNKNOWN, -1, truth.astype(np.int64)) if self.is_dense else truth

    @property
    def is_dense(self) -> bool:
        """Whether each pixel has a class of its own."""
        return is_dense(self.card)

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
    rows: np.ndarray | None = None,
    copies: int = 0,
    masks: np.ndarray | None = None,
) -> Dataset:
    """Write a data set, a piece of an array at a time; its card, without which there is none, last.

    Args:
        images: uint8 (M, C, H, W), perhaps memory-mapped.
        labels: int64 (N,); -1 for an image without one, which is unlabelled.
        split: name of each image's split, (N,).
        classes: class names in the order of the labels.
        path: where each image came from, (N,).
        sha256: each image's content hash, (N,).
        rows: where each image stands in `images`, (N,); None = image i in row i.
        copies: exact copies that were left out, to be reported.
        masks: of a segmentation, the class of each pixel, uint8 (M, H, W), 0 for the background,
            whose class comes before the others, c + 1 for class c; `labels` then only counts.
    """
    folder = Path(folder)
    rows = np.arange(len(labels)) if rows is None else rows
    hashes, counts = {}, {}
    for name in SPLITS:
        own = np.flatnonzero(split == name)
        label_name = "truth" if name == "unlabelled" else "label"
        hashes[f"{name}/image.npy"] = _write_rows(folder / name / "image.npy", images, rows[own])
        key = f"{name}/{label_name}.npy"
        answers = (labels, own) if masks is None else (masks, rows[own])
        hashes[key] = _write_rows(folder / key, *answers)
        known = labels[own][labels[own] >= 0]
        counts[name] = dict(zip(classes, np.bincount(known, minlength=len(classes)).tolist()))
    mean, std = _normalisation(images, rows[np.isin(split, TRAINING)])
    card = {
        "schema": SCHEMA,
        "kind": CLASSIFICATION if masks is None else SEGMENTATION,
        "classes": classes if masks is None else [BACKGROUND, *classes],
        "image_shape": list(images.shape[1:]),
        "normalisation": {"mean": mean, "std": std},
        "counts": counts,
        "without_label": int((labels < 0).sum()),
        "copies_left_out": copies,
        "sha256": hashes,
        "index_sha256": _write_index(folder / "index.csv", path, split, sha256),
    }
    return Dataset(folder, files.write_sealed(folder / "dataset.json", card))


def _write_rows(path: Path, values: np.ndarray, rows: np.ndarray) -> str:
    """What `np.save(path, values[rows])` writes; returns the hash of the file."""
    shape = (len(rows), *values.shape[1:])
    with files.written(path, int(np.prod(shape)) * values.itemsize) as file:
        descr = np.lib.format.dtype_to_descr(values.dtype)
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for piece in _pieces(values, rows):
            file.write(piece.data)
    return files.sha256(path)


def _pieces(values: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """`values[rows]`, some rows at a time."""
    bytes_per_row = int(np.prod(values.shape[1:])) * values.itemsize
    num = max(1, PIECE // bytes_per_row)
    for start in range(0, len(rows), num):
        yield np.ascontiguousarray(values[rows[start : start + num]])


def _normalisation(images: np.ndarray, rows: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel on the 0..1 scale, of some rows (the training
    images); through a histogram, which is exact and needs no float copy of the set."""
    counts = np.zeros((images.shape[1], 256), dtype=np.int64)
    for piece in _pieces(images, rows):
        for channel, count in enumerate(counts):
            count += np.bincount(piece[:, channel].ravel(), minlength=256)
    mean, std = [], []
    values = np.arange(256) / 255
    for count in counts:
        share = count / count.sum()
        centre = float((share * values).sum())
        mean.append(round(centre, 6))
        std.append(round(max(float((share * (values - centre) ** 2).sum()) ** 0.5, 1e-3), 6))
    return mean, std


def _write_index(path: Path, origin: list[str], split: np.ndarray, sha256: list[str]) -> str:
    """Write one line an image; returns the hash of the file."""
    with files.written(path, sum(map(len, origin)) + sum(map(len, sha256))) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["id", "path", "split", "sha256"])
        writer.writerows(zip(range(len(origin)), origin, map(str, split), sha256))
        text.detach()
    return files.sha256(path)
