"""A model's answers to the images of a split, and how good they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from pipeline.networks import evaluate
from pipeline.report.intervals import gain, wilson
from pipeline.report.joined import Joined


@dataclass(frozen=True)
class Answers:
    """A model's answers on a split of every task it knows.

    Attributes:
        images: uint8 (N, C, H, W), those of a task shared with all models that know it.
        logits: (N, K) over all its classes; where the model is given the task of an image, minus
            infinity outside the task's own.
        task_known: the same with the task given in any case.
        labels: int64 (N,), positions among all its classes.
        task: the task each image belongs to, (N,).
    """

    images: Tensor | Joined
    logits: Tensor
    task_known: Tensor
    labels: Tensor
    task: np.ndarray

    measure = "accuracy"  # what `value` is
    unit = "image"  # what is answered

    @property
    def right(self) -> np.ndarray:
        """Whether each image is right, bool (N,)."""
        return (self.logits.argmax(1) == self.labels).numpy()

    @property
    def accuracy(self) -> float:
        """Share right, 0..1, over all classes the model knows."""
        return evaluate.accuracy(self.logits, self.labels)

    @property
    def scores(self) -> np.ndarray:
        """How good the answer to each image is, 0..1, (N,): 1 where it is right."""
        return self.right

    @property
    def value(self) -> float:
        """How good the answers are, 0..1: what models are compared by."""
        return self.accuracy

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `value`."""
        return wilson(int(self.right.sum()), len(self.labels))

    def gain(self, other: Answers) -> tuple[float, float, float]:
        """How far ahead of another model on the same images, and the 95 % interval of that."""
        return gain(self.right, other.right)

    def by_class(self) -> np.ndarray:
        """Share right of each class, 0..1, (K,); `nan` without images."""
        size = self.logits.shape[1]
        with np.errstate(invalid="ignore"):
            return np.bincount(self.labels.numpy(), self.right, size) / self.num_by_class()

    def num_by_class(self) -> np.ndarray:
        """Images of each class, (K,)."""
        return np.bincount(self.labels.numpy(), minlength=self.logits.shape[1])

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Logits float64 (N, K) and labels (N,): a row for each image."""
        return self.logits.double().numpy(), self.labels.numpy()
