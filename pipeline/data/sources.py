"""Where images come from. A source is a function of the data params that returns `Images`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from pipeline.errors import UserError, nearest
from pipeline.params import Data


@dataclass(frozen=True)
class Images:
    """Everything a source found.

    Attributes:
        image: uint8 (N, C, H, W).
        label: int64 (N,), an index into `classes`.
        classes: all class names the source knows.
        path: where each image came from, for people (N,).
    """

    image: np.ndarray
    label: np.ndarray
    classes: list[str]
    path: list[str]

    def of(self, names: list[str], key: str = "data.classes") -> Images:
        """Only the images of the classes `names`, labelled by their position in `names`.

        Args:
            key: of params.yaml that gave the names, for messages.

        Raises:
            UserError: a name that the source does not know.
        """
        unknown = [name for name in names if name not in self.classes]
        if unknown:
            raise UserError.all(
                UserError(key, f"no class is called '{n}'", nearest(n, self.classes))
                for n in unknown
            )
        position = {self.classes.index(name): new for new, name in enumerate(names)}
        rows = [row for row, label in enumerate(self.label) if int(label) in position]
        label = np.array([position[int(self.label[row])] for row in rows], dtype=np.int64)
        return Images(self.image[rows], label, list(names), [self.path[row] for row in rows])

    def sha256(self) -> list[str]:
        """The SHA-256 of each image's pixels and shape: its identity, whatever its file's name."""
        shape = str(self.image.shape[1:]).encode()
        return [hashlib.sha256(shape + image.tobytes()).hexdigest() for image in self.image]


def digits(data: Data) -> Images:
    """scikit-learn's 1,797 real 8x8 digits, grey values 0..16 spread over 0..255."""
    from sklearn.datasets import load_digits

    found = load_digits()
    image = np.rint(found.images * (255 / 16)).astype(np.uint8)[:, None]  # (N, 1, 8, 8)
    path = [f"digits/{row:04d}" for row in range(len(image))]
    return Images(image, found.target.astype(np.int64), [str(c) for c in range(10)], path)


SOURCES = {
    "digits": digits,
}
