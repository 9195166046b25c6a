"""The gap between the images that a teacher knows and those that it is to label."""

import numpy as np
import pytest

from pipeline.labelling.confidence import LARGE, Confidence, confidence


def sure(values) -> np.ndarray:
    """Rows of two classes whose larger probability is given, on either side."""
    values = np.array(values)
    probs = np.stack([values, 1 - values], axis=1)
    return np.where(np.arange(len(values))[:, None] % 2, probs, probs[:, ::-1])


def test_quartiles_are_of_the_largest_probability():
    of = confidence(sure([0.5, 0.6, 0.7, 0.8, 0.9]), sure([0.9, 0.6, 0.6]))
    np.testing.assert_allclose(of.val, [0.6, 0.7, 0.8])
    np.testing.assert_allclose(of.unlabelled, [0.6, 0.6, 0.75])
    assert of.gap == pytest.approx(0.1)


def test_a_gap_is_large_where_the_unlabelled_images_are_the_doubtful_ones():
    def gap(unlabelled: float) -> Confidence:
        return Confidence([0.5, 0.75, 1.0], [0.4, unlabelled, 1.0])

    assert gap(0.74 - LARGE).is_large
    assert not gap(0.76 - LARGE).is_large
    assert not gap(0.95).is_large
