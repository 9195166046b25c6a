"""Does a confidence of 80 % mean right in 80 of 100? Binned error, likelihood, one temperature.

Guo et al. 2017, arXiv:1706.04599: logits are divided by a temperature T that minimises the
negative log-likelihood. T > 1 says that the model was too sure. No answer changes by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (N, K); minus infinity gives zero."""
    exp = np.exp(logits - logits.max(1, keepdims=True))
    return exp / exp.sum(1, keepdims=True)


def likelihood(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood in nats."""
    shifted = logits - logits.max(1, keepdims=True)
    picked = shifted[np.arange(len(labels)), labels]
    return float(np.mean(np.log(np.exp(shifted).sum(1)) - picked))


def temperature(logits: np.ndarray, labels: np.ndarray) -> float | None:
    """The temperature of least negative log-likelihood, by scikit-learn.

    Args:
        logits: (N, K), minus infinity allowed.
        labels: (N,), positions in the rows; classes may be absent.

    Returns:
        T, or None where every image is right: any smaller T would be better still.
    """
    from sklearn.calibration import CalibratedClassifierCV

    if (logits.argmax(1) == labels).all():
        return None
    logits, labels = _every_class(logits, labels)
    num_classes = logits.shape[1]
    everything = np.arange(len(labels))
    scaled = CalibratedClassifierCV(
        _says_its_input(num_classes),
        method="temperature",
        cv=[(everything, everything)],  # nothing is trained, so nothing need be held out
        ensemble=False,
    ).fit(logits, labels)
    probe = np.zeros((1, num_classes))
    probe[0, 0] = 2.0  # with 1 it would pass for probabilities
    probs = scaled.predict_proba(probe)[0]
    return float(2 / np.log(probs[0] / probs[1]))


def _every_class(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same problem with every class among the labels and at least three of them, which
    scikit-learn wants: turning a row and its label round together leaves its likelihood alone,
    and so does a class that nobody gives any probability."""
    lowest = logits.max(1, keepdims=True) - 1e6
    logits = np.maximum(logits, lowest)
    if logits.shape[1] == 2:
        logits = np.concatenate([logits, lowest], axis=1)
    num_classes = logits.shape[1]
    repeats = -(-2 * num_classes // len(labels))  # fewer than two rows a class make it warn
    logits, labels = np.tile(logits, (repeats, 1)), np.tile(labels, repeats)
    turned = np.arange(len(labels)) % num_classes
    columns = (np.arange(num_classes) - (turned - labels)[:, None]) % num_classes
    return np.take_along_axis(logits, columns, axis=1), turned


def _says_its_input(num_classes: int):
    """A classifier whose decisions are what it is given."""
    from sklearn.base import BaseEstimator, ClassifierMixin

    class SaysItsInput(ClassifierMixin, BaseEstimator):
        classes_ = np.arange(num_classes)

        def fit(self, inputs, labels):
            return self

        def decision_function(self, inputs):
            return inputs

        def predict(self, inputs):
            return inputs.argmax(1)

    return SaysItsInput()


@dataclass(frozen=True)
class Calibration:
    """A model's confidence, as trained and after scaling.

    Attributes:
        how: what was fitted on what and shown on what.
        temperatures: one, or one a fold; empty where none can be fitted.
        before, after: bins; `after` is None without a temperature.
        nll: mean negative log-likelihood, before and after, in nats.
    """

    how: str
    temperatures: list[float]
    before: Bins
    after: Bins | None
    nll: tuple[float, float | None]


def calibrate(model: Measured) -> Calibration:
    """Fit on val and show on test where it was read; else two folds of val, each shown with the
    temperature of the other."""
    looks = {split: _arrays(seen) for split, seen in model.seen.items()}
    logits, labels = looks["val"]
    if "test" in looks:
        fits = [temperature(logits, labels)]
        logits, labels = looks["test"]
        fold = np.zeros(len(labels), dtype=int)
        how = "T is fitted on val; everything is shown on test."
    else:
        fold = _halves(labels)
        fits = [temperature(logits[fold != f], labels[fold != f]) for f in (0, 1)]
        how = "Test was not read: each half of val is shown with the T fitted on the other half."
    before, nll = binned(softmax(logits), labels), likelihood(logits, labels)
    if None in fits:
        how = "No temperature can be fitted: every image to fit it on is right."
        return Calibration(how, [], before, None, (nll, None))
    scaled = logits / np.array(fits)[fold][:, None]
    after = binned(softmax(scaled), labels)
    return Calibration(how, fits, before, after, (nll, likelihood(scaled, labels)))


def _halves(labels: np.ndarray) -> np.ndarray:
    """Fold 0 or 1 of each image, every class in both."""
    fold = np.empty(len(labels), dtype=int)
    fold[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % 2
    return fold


def _arrays(seen) -> tuple[np.ndarray, np.ndarray]:
    return seen.logits.double().numpy(), seen.labels.numpy()
