"""What a source of images gives."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from pipeline.core.errors import UserError, nearest


@dataclass(frozen=True)
class Images:
    """All images of a source.

    Attributes:
        image: uint8 (N, C, H, W).
        label: int64 (N,), an index into `classes`.
        classes: all class names the source knows.
        path: where each image came from, for people (N,).
        given: the split that the source itself puts each image in, `train`, `val` or `test` (N,);
            None if it has none.
    """

    image: np.ndarray
    label: np.ndarray
    classes: list[str]
    path: list[str]
    given: np.ndarray | None = None

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
        given = None if self.given is None else self.given[rows]
        path = [self.path[row] for row in rows]
        return Images(self.image[rows], label, list(names), path, given)

    def sha256(self) -> list[str]:
        """The SHA-256 of each image's pixels and shape: its identity, whatever its file's name."""
        shape = str(self.image.shape[1:]).encode()
        return [hashlib.sha256(shape + image.tobytes()).hexdigest() for image in self.image]
