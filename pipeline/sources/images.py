"""What a source of images gives."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.core.errors import UserError, nearest


@dataclass(frozen=True)
class Images:
    """The images of a source, or some of them.

    Attributes:
        image: uint8 (M, C, H, W), all that the source has, perhaps memory-mapped.
        row: where each image stands in `image`, int64 (N,).
        label: int64 (N,), an index into `classes`.
        classes: all class names the source knows.
        path: where each image came from, for people (N,).
        sha256: the identity of each, of its pixels and shape (N,): see `decoder.identity`.
        given: the split that the source itself puts each image in, `train`, `val` or `test` (N,);
            None if it has none.
    """

    image: np.ndarray
    row: np.ndarray
    label: np.ndarray
    classes: list[str]
    path: list[str]
    sha256: list[str]
    given: np.ndarray | None = None

    def take(self, chosen: np.ndarray) -> Images:
        """Only the images `chosen`, int64 (n,); no pixel is copied."""
        return replace(
            self,
            row=self.row[chosen],
            label=self.label[chosen],
            path=[self.path[i] for i in chosen],
            sha256=[self.sha256[i] for i in chosen],
            given=None if self.given is None else self.given[chosen],
        )

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
        position = {name: place for place, name in enumerate(names)}
        label = np.array([position.get(name, -1) for name in self.classes])[self.label]
        chosen = np.flatnonzero(label >= 0)
        return replace(self.take(chosen), label=label[chosen], classes=list(names))
