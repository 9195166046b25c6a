"""A model's answers to every pixel of a split: mean IoU in the place of accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from pipeline.core import randomness
from pipeline.networks.evaluate import class_iou
from pipeline.report.answers import Answers

DRAWS = 1000  # of the images, with replacement, for an interval


@dataclass(frozen=True)
class DenseAnswers(Answers):
    """Answers to pixels.

    Attributes:
        logits: (N, K, H, W).
        labels: int64 (N, H, W).
        others: see `Answers`.
    """

    measure = "mean IoU"
    unit = "pixel"

    @cached_property
    def counts(self) -> np.ndarray:
        """Confusion counts of each image's pixels, (N, K, K): rows are true classes."""
        num, size = len(self.labels), self.logits.shape[1]
        image = torch.arange(num).view(-1, 1, 1)
        flat = (image * size + self.labels) * size + self.logits.argmax(1)
        counts = torch.bincount(flat.flatten(), minlength=num * size**2)
        return counts.reshape(num, size, size).numpy()

    @property
    def scores(self) -> np.ndarray:
        """The mean IoU of each image over the classes that it has or is answered with, (N,)."""
        return np.nanmean(class_iou(self.counts), axis=1)

    @property
    def value(self) -> float:
        """The mean IoU of all images together."""
        return float(np.nanmean(class_iou(self.counts.sum(0))))

    @cached_property
    def drawn(self) -> np.ndarray:
        """The mean IoU of as many images, drawn with replacement: (1000,), the same draws for every
        model of these images."""
        rng = randomness.generator(0, "report", "bootstrap", len(self.labels))
        times = rng.multinomial(
            len(self.labels), np.full(len(self.labels), 1 / len(self.labels)), DRAWS
        )
        counts = np.tensordot(times, self.counts, axes=1)
        return np.nanmean(class_iou(counts), axis=1)

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean IoU, by a bootstrap over images."""
        low, high = np.quantile(self.drawn, [0.025, 0.975])
        return float(low), float(high)

    def gain(self, other: DenseAnswers) -> tuple[float, float, float]:
        """How far ahead of another model on the same images, and the 95 % interval of that."""
        low, high = np.quantile(self.drawn - other.drawn, [0.025, 0.975])
        return self.value - other.value, float(low), float(high)

    def by_class(self) -> np.ndarray:
        """The IoU of each class, 0..1, (K,); `nan` where it is neither there nor answered."""
        return class_iou(self.counts.sum(0))

    def num_by_class(self) -> np.ndarray:
        """Pixels of each class, (K,)."""
        return self.counts.sum((0, 2))

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Logits float64 (N H W, K) and labels (N H W,): a row for each pixel."""
        logits = self.logits.double().movedim(1, -1).reshape(-1, self.logits.shape[1])
        return logits.numpy(), self.labels.flatten().numpy()
