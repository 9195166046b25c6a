"""The temperature of a model by independent oracles: SciPy, a grid, scikit-learn, by hand."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from torch.nn.functional import cross_entropy

from pipeline.networks import temperature


def drawn(num, num_classes, classes=None, seed=0):
    """Logits that are too sure by a factor of 2, and labels from `classes`."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes or range(num_classes), num)
    logits = rng.normal(size=(num, num_classes))
    logits[np.arange(num), labels] += 1.5
    return torch.from_numpy(2 * logits), torch.from_numpy(labels)


CASES = [(300, 10, None), (300, 2, None), (60, 3, [0, 2]), (40, 100, [3, 97]), (50, 2, [1])]


@pytest.mark.parametrize(("num", "num_classes", "classes"), CASES)
@pytest.mark.parametrize("scale", [0.05, 1.0, 20.0])
def test_it_is_the_best_of_a_grid_and_scipys(num, num_classes, classes, scale):
    logits, labels = drawn(num, num_classes, classes)
    logits *= scale

    def loss(log_t):
        return float(cross_entropy(logits / np.exp(log_t), labels))

    grid = np.linspace(-9, 9, 1801)
    near = grid[np.argmin([loss(log_t) for log_t in grid])]
    bounds = (near - 0.02, near + 0.02)
    best = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-9}).x
    assert temperature.fit(logits, labels) == pytest.approx(np.exp(best), rel=1e-5)


@pytest.mark.parametrize("factor", [1e-3, 0.5, 3.0, 1e3])
def test_logits_a_times_larger_have_a_temperature_a_times_higher(factor):
    logits, labels = drawn(200, 5)
    expected = factor * temperature.fit(logits, labels)
    assert temperature.fit(factor * logits, labels) == pytest.approx(expected, rel=1e-4)
    assert temperature.fit((factor * logits).float(), labels) == pytest.approx(expected, rel=1e-4)


class SaysItsInput(ClassifierMixin, BaseEstimator):
    """A classifier whose decisions are what it is given."""

    classes_ = np.arange(6)

    def fit(self, inputs, labels):
        return self

    def decision_function(self, inputs):
        return inputs

    def predict(self, inputs):
        return inputs.argmax(1)


def test_it_is_scikit_learns():
    logits, labels = drawn(300, 6)
    rows = [(np.arange(300), np.arange(300))]  # nothing is trained, so nothing need be held out
    scaled = CalibratedClassifierCV(SaysItsInput(), method="temperature", cv=rows, ensemble=False)
    scaled.fit(logits.numpy(), labels.numpy())
    probs = scaled.predict_proba(np.array([[2.0, 0, 0, 0, 0, 0]]))[0]
    theirs = 2 / np.log(probs[0] / probs[1])
    assert temperature.fit(logits, labels) == pytest.approx(theirs, rel=1e-4)


def test_units_that_are_ruled_out_change_nothing():
    logits, labels = drawn(200, 5)
    wider = torch.cat([logits, torch.full((200, 3), float("-inf"))], 1)
    assert temperature.fit(wider, labels) == temperature.fit(logits, labels)


def test_a_model_that_knows_nothing_is_made_to_say_so():
    logits, labels = drawn(300, 4)
    fitted = temperature.fit(-logits, labels)  # the true class is the least likely
    assert fitted == pytest.approx(np.exp(10), rel=1e-5)
    assert temperature.probabilities(-logits, fitted).max() < 0.251


def test_there_is_none_for_few_images_and_where_all_are_right():
    logits, labels = drawn(30, 4)
    assert temperature.fit(logits, labels) is not None
    assert temperature.fit(logits[:29], labels[:29]) is None
    assert temperature.fit(logits[:0], labels[:0]) is None
    right = torch.eye(4).repeat(10, 1)
    assert temperature.fit(right, torch.arange(4).repeat(10)) is None
    right[0, 3] = 1.0  # two classes first: the smaller T, the better still
    assert temperature.fit(right, torch.arange(4).repeat(10)) is None


def test_probabilities_are_scaled_and_keep_the_order():
    logits = torch.tensor([[2.0, 0.0, float("-inf")], [0.5, 1.0, 0.0]])
    probs = temperature.probabilities(logits, 2.0)
    assert probs.dtype == torch.float32
    np.testing.assert_allclose(probs[0], [1 / (1 + np.exp(-1)), 1 / (1 + np.e), 0], rtol=1e-6)
    assert torch.equal(probs.argmax(1), logits.argmax(1))


def test_a_card_of_before_there_were_temperatures_has_one_of_one():
    assert temperature.of({"metrics": {"val_acc": 0.5}}) == 1.0
    assert temperature.of({"metrics": {"temperature": 1.7}}) == 1.7
