"""Answers for people: a line an image on a terminal, a row an image in a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.predict.found import shown

if TYPE_CHECKING:
    from pipeline.predict.predictor import Part


def ranked(probs: np.ndarray, top: int) -> np.ndarray:
    """The likeliest classes (N, top) of rows of probabilities (N, K), in order."""
    return np.argsort(-probs, axis=1, kind="stable")[:, :top]


def lines(part: Part, classes: Sequence[str], top: int) -> Iterator[str]:
    """For each image its path and its likeliest classes."""
    for path, row, places in zip(part.paths, part.probabilities, ranked(part.probabilities, top)):
        said = "  ".join(f"{shown(classes[c])} {row[c]:.1%}" for c in places)
        yield f"{shown(path)}  {said}"


class Table:
    """A CSV file: path, answer, probability, and the next likeliest classes with theirs, or the
    probabilities of all classes as `p_<class>`; in UTF-8, probabilities with six digits.

    Args:
        top: likeliest classes of an image.
        everything: all classes in their place.
    """

    def __init__(self, classes: Sequence[str], top: int, everything: bool):
        self.classes = classes
        self.top = 1 if everything else min(top, len(classes))
        self.everything = everything

    def header(self) -> bytes:
        """The first line."""
        nth = [f"_{place}" for place in range(2, self.top + 1)]
        names = [f"{key}{n}" for n in ["", *nth] for key in ("answer", "probability")]
        every = [f"p_{name}" for name in self.classes] if self.everything else []
        return _csv([["path", *names, *every]])

    def rows(self, part: Part) -> bytes:
        """Those of some images; paths are written as the system has them."""
        probs = part.probabilities
        told = ([f"{p:.6f}" for p in row] for row in probs.tolist())
        return _csv(
            [
                path,
                *(value for c in places for value in (self.classes[c], row[c])),
                *(row if self.everything else ()),
            ]
            for path, row, places in zip(part.paths, told, ranked(probs, self.top))
        )

    def num_bytes(self, paths: Sequence[str]) -> int:
        """About as many as all rows will take."""
        numbers = self.top + (len(self.classes) if self.everything else 0)
        return sum(map(len, paths)) + 10 * len(paths) * (numbers + self.top)


def _csv(rows: Iterator[list[str]] | list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")
