"""The gap between the images that a teacher knows and those that it is to label."""

import numpy as np
import pytest
from scipy.special import softmax

from pipeline.labelling import confidence as module
from pipeline.labelling.confidence import LARGE, Confidence, confidence, scaled


def sure(values) -> np.ndarray:
    """Rows of two classes whose larger probability is given, on either side."""
    values = np.array(values)
    probs = np.stack([values, 1 - values], axis=1)
    return np.where(np.arange(len(values))[:, None] % 2, probs, probs[:, ::-1])


def test_quartiles_are_of_the_largest_probability():
    of = confidence(sure([0.5, 0.6, 0.7, 0.8, 0.9]), sure([0.9, 0.6, 0.6]), 1.0)
    np.testing.assert_allclose(of.val, [0.6, 0.7, 0.8])
    np.testing.assert_allclose(of.unlabelled, [0.6, 0.6, 0.75])
    assert of.gap == pytest.approx(0.1)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7, 20.0])
def test_confidence_is_that_of_the_logits_at_the_temperature(rng, monkeypatch, temperature):
    monkeypatch.setattr(module, "PIECE", 7)
    logits = rng.normal(0, 3, (50, 6))
    wanted = softmax(logits / temperature, axis=1).max(1)
    np.testing.assert_allclose(scaled(softmax(logits, axis=1), temperature), wanted, rtol=1e-9)


@pytest.mark.parametrize("temperature", [np.exp(-10), np.exp(10)])
def test_a_certain_answer_and_extreme_temperatures_give_numbers(temperature):
    probs = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.4, 0.3, 0.3]])
    made = scaled(probs, temperature)
    assert ((made >= 1 / 3) & (made <= 1)).all()


@pytest.mark.parametrize("quartile", range(3))
def test_a_gap_is_large_where_any_quartile_falls(quartile):
    def gap(by: float) -> Confidence:
        unlabelled = [0.5, 0.75, 0.9]
        unlabelled[quartile] -= by
        return Confidence([0.5, 0.75, 0.9], unlabelled)

    assert gap(LARGE + 0.01).is_large and gap(LARGE + 0.01).gap == pytest.approx(LARGE + 0.01)
    assert not gap(LARGE - 0.01).is_large
    assert not gap(-0.2).is_large
