"""Does a confidence of 80 % mean right in 80 of 100? Binned error and likelihood, as trained and
after temperature scaling (`networks/temperature.py`)."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import log_softmax, softmax

from pipeline.networks import temperature
from pipeline.report.measure import Measured

NUM_BINS = 15


@dataclass(frozen=True)
class Bins:
    """Images sorted by confidence (the largest probability) into bins of equal width.

    Attributes:
        count: images in each, (15,).
        confidence: their mean confidence, 0..1; `nan` in an empty bin.
        accuracy: share of them that is right, 0..1; `nan` in an empty bin.
    """

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error, 0..1: |accuracy - confidence| of a bin, averaged over
        the bins by their images."""
        gap = np.abs(self.accuracy - self.confidence)
        return float(np.nansum(gap * self.count) / self.count.sum())


def binned(probs: np.ndarray, labels: np.ndarray) -> Bins:
    """Sort images into bins; bin i of 15 holds confidences in (i/15, (i+1)/15].

    Args:
        probs: (N, K), rows sum to 1.
        labels: (N,), positions in the rows.
    """
    confidence, right = probs.max(1), probs.argmax(1) == labels
    place = np.clip(np.ceil(confidence * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
    count = np.bincount(place, minlength=NUM_BINS)
    with np.errstate(invalid="ignore"):
        return Bins(
            count,
            np.bincount(place, confidence, NUM_BINS) / count,
            np.bincount(place, right, NUM_BINS) / count,
        )


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log p(label), in nats; logits (N, K), minus infinity allowed."""
    return -float(log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())


@dataclass(frozen=True)
class Calibration:
    """A model's confidence, as trained and after scaling.

    Attributes:
        how: what was fitted on what and shown on what.
        temperatures: one, or one a fold; empty where none could be fitted.
        before, after: bins; `after` is None without a temperature.
        nll: mean negative log-likelihood, before and after, in nats.
    """

    how: str
    temperatures: list[float]
    before: Bins
    after: Bins | None
    nll: tuple[float, float | None]


def calibrate(model: Measured) -> Calibration:
    """Of a model that test was read for, the temperature that it is served with, shown on test;
    else two folds of val, each shown with the temperature of the other."""
    logits, labels = model.shown.rows()
    served = temperature.of(model.card)
    if model.split == "test":
        fold = np.zeros(len(labels), dtype=int)
        fits = [None if served == 1 else served]
        how = "T was fitted on val and the model is served with it; everything is shown on test."
    else:
        fold = _halves(labels)
        fits = [_fit(logits[fold != f], labels[fold != f]) for f in (0, 1)]
        how = (
            "Shown on val: each half of it with the T fitted on the other half. "
            f"The model is served with T = {served:.2f}, fitted on all of val."
        )
    before, nll = binned(softmax(logits, axis=1), labels), negative_log_likelihood(logits, labels)
    if None in fits:
        how = (
            "No temperature can be fitted: the images to fit it on are fewer than "
            f"{temperature.LEAST}, or all right."
        )
        return Calibration(how, [], before, None, (nll, None))
    scaled = logits / np.array(fits)[fold][:, None]
    after = binned(softmax(scaled, axis=1), labels)
    return Calibration(how, fits, before, after, (nll, negative_log_likelihood(scaled, labels)))


def _fit(logits: np.ndarray, labels: np.ndarray) -> float | None:
    return temperature.fit(torch.from_numpy(logits), torch.from_numpy(labels))


def _halves(labels: np.ndarray) -> np.ndarray:
    """Fold 0 or 1 of each image, every class in both."""
    fold = np.empty(len(labels), dtype=int)
    fold[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % 2
    return fold
