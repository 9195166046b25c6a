"""Calibration against independent oracles: brute force, scikit-learn and torch."""

import made_up
import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from torch.nn.functional import cross_entropy

from pipeline.report import calibration
from pipeline.report.calibration import binned, calibrate, temperature
from pipeline.report.calibration import negative_log_likelihood as likelihood


def drawn(num, num_classes, classes=None, seed=0):
    """Logits that are too sure by a factor of 2, and labels from `classes`."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes or range(num_classes), num)
    logits = rng.normal(size=(num, num_classes))
    logits[np.arange(num), labels] += 1.5
    return 2 * logits, labels


@pytest.mark.parametrize("num_classes", [2, 10])
def test_bins_and_ece_by_brute_force(num_classes):
    logits, labels = drawn(400, num_classes)
    probs = softmax(logits, axis=1)
    probs[0] = np.eye(num_classes)[0]  # a confidence of 1 belongs to the last bin
    edge = np.full(num_classes, (1 - 9 / 15) / (num_classes - 1))
    edge[0] = 9 / 15  # and one of 9/15 to the ninth, (8/15, 9/15]
    probs[1] = edge
    result = binned(probs, labels)
    error = 0.0
    for i in range(15):
        rows = [p for p in range(400) if i / 15 < probs[p].max() <= (i + 1) / 15]
        assert result.count[i] == len(rows)
        if rows:
            sure = sum(probs[p].max() for p in rows) / len(rows)
            right = sum(probs[p].argmax() == labels[p] for p in rows) / len(rows)
            assert result.confidence[i] == pytest.approx(sure)
            assert result.accuracy[i] == pytest.approx(right)
            error += len(rows) / 400 * abs(sure - right)
    assert result.error == pytest.approx(error)
    assert 0.02 < error < 0.5


def test_bins_agree_with_scikit_learn():
    logits, labels = drawn(500, 6)
    probs = softmax(logits, axis=1)
    result = binned(probs, labels)
    right, sure = calibration_curve(
        probs.argmax(1) == labels, probs.max(1), n_bins=15, strategy="uniform"
    )
    filled = result.count > 0
    np.testing.assert_allclose(result.accuracy[filled], right)
    np.testing.assert_allclose(result.confidence[filled], sure)


def test_a_calibrated_model_has_a_small_error():
    rng = np.random.default_rng(0)
    probs = softmax(rng.normal(size=(50_000, 4)), axis=1)
    labels = (rng.random((50_000, 1)) > probs.cumsum(1)).sum(1)
    assert binned(probs, labels).error < 0.01
    assert binned(softmax(3 * np.log(probs), axis=1), labels).error > 0.1


CASES = [(300, 10, None), (300, 2, None), (60, 3, [0, 2]), (40, 100, [3, 97]), (50, 2, [1])]


@pytest.mark.parametrize(("num", "num_classes", "classes"), CASES)
@pytest.mark.parametrize("scale", [0.05, 1.0, 20.0])
def test_temperature_is_the_best_of_a_grid(num, num_classes, classes, scale):
    logits, labels = drawn(num, num_classes, classes)
    grid = np.exp(np.linspace(-9, 9, 18_001))  # steps of 0.1 %
    scaled = torch.from_numpy(scale * logits[None] / grid[:, None, None][::10])
    best = grid[::10][_losses(scaled, labels).argmin()]
    near = best * np.exp(np.linspace(-0.01, 0.01, 2001))  # steps of 0.001 %
    scaled = torch.from_numpy(scale * logits[None] / near[:, None, None])
    best = near[_losses(scaled, labels).argmin()]
    assert temperature(scale * logits, labels) == pytest.approx(best, rel=5e-5)


def _losses(scaled, labels):
    """Mean negative log-likelihood of each of many logits (T, N, K), by torch."""
    return torch.stack([cross_entropy(one, torch.from_numpy(labels)) for one in scaled])


class SaysItsInput(ClassifierMixin, BaseEstimator):
    """A classifier whose decisions are what it is given."""

    classes_ = np.arange(6)

    def fit(self, inputs, labels):
        return self

    def decision_function(self, inputs):
        return inputs

    def predict(self, inputs):
        return inputs.argmax(1)


def test_temperature_is_scikit_learns():
    logits, labels = drawn(300, 6)
    rows = [(np.arange(300), np.arange(300))]  # nothing is trained, so nothing need be held out
    scaled = CalibratedClassifierCV(SaysItsInput(), method="temperature", cv=rows, ensemble=False)
    probs = scaled.fit(logits, labels).predict_proba(np.array([[2.0, 0, 0, 0, 0, 0]]))[0]
    assert temperature(logits, labels) == pytest.approx(2 / np.log(probs[0] / probs[1]), rel=1e-4)


def test_units_that_are_ruled_out_change_no_temperature():
    logits, labels = drawn(200, 5)
    wider = np.concatenate([logits, np.full((200, 3), -np.inf)], axis=1)
    assert temperature(wider, labels) == pytest.approx(temperature(logits, labels), rel=1e-6)
    assert likelihood(wider, labels) == pytest.approx(likelihood(logits, labels))


def test_no_temperature_where_all_is_right():
    assert temperature(10 * np.eye(4), np.arange(4)) is None


def one(test, **options):
    experiment = made_up.experiment({}, {}, "teacher", list("abcde"), test=test)
    return made_up.models(experiment, each=30, **options)["teacher"]


def test_with_test_val_fits_and_test_shows():
    model = one(test=True)
    result = calibrate(model)
    val, test = model.answers["val"], model.answers["test"]
    (fitted,) = result.temperatures
    assert fitted == temperature(val.logits.double().numpy(), val.labels.numpy())
    logits, labels = test.logits.double().numpy(), test.labels.numpy()
    assert result.nll == (
        pytest.approx(likelihood(logits, labels)),
        pytest.approx(likelihood(logits / fitted, labels)),
    )
    assert result.after.error == pytest.approx(
        binned(softmax(logits / fitted, axis=1), labels).error
    )
    assert "shown on test" in result.how


def test_without_test_no_image_is_scaled_by_what_it_helped_to_fit(monkeypatch):
    fitted_on = []
    real = calibration.temperature

    def spy(logits, labels):
        fitted_on.append({row.tobytes() for row in logits})
        return real(logits, labels)

    monkeypatch.setattr(calibration, "temperature", spy)
    model = one(test=False)
    result = calibrate(model)
    rows = model.answers["val"].logits.double().numpy()
    labels = model.answers["val"].labels.numpy()
    first, second = fitted_on
    assert not first & second
    assert first | second == {row.tobytes() for row in rows}
    temperatures = [result.temperatures[row.tobytes() in first] for row in rows]
    scaled = rows / np.array(temperatures)[:, None]
    assert result.nll[1] == pytest.approx(likelihood(scaled, labels))


def test_a_perfect_val_leaves_the_model_as_it_is():
    model = one(test=True)
    model.answers["val"].logits[np.arange(150), model.answers["val"].labels] = 50.0
    result = calibrate(model)
    assert (result.temperatures, result.after, result.nll[1]) == ([], None, None)
    assert "No temperature" in result.how
