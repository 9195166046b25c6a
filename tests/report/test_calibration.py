"""Calibration in the report against independent oracles: brute force and scikit-learn."""

import made_up
import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve

from pipeline.networks import temperature
from pipeline.report.calibration import binned, calibrate
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


def one(test, **options):
    experiment = made_up.experiment({}, {}, "teacher", list("abcde"), test=test)
    return made_up.models(experiment, each=30, **options)["teacher"]


def test_with_test_the_temperature_of_the_card_is_shown_on_test():
    model = one(test=True)
    result = calibrate(model)
    assert result.temperatures == [1.5]
    test = model.answers["test"]
    logits, labels = test.logits.double().numpy(), test.labels.numpy()
    assert result.nll == (
        pytest.approx(likelihood(logits, labels)),
        pytest.approx(likelihood(logits / 1.5, labels)),
    )
    assert result.after.error == pytest.approx(binned(softmax(logits / 1.5, axis=1), labels).error)
    assert "shown on test" in result.how


def test_without_test_no_image_is_scaled_by_what_it_helped_to_fit(monkeypatch):
    fitted_on = []
    real = temperature.fit

    def spy(logits, labels):
        fitted_on.append({row.numpy().tobytes() for row in logits})
        return real(logits, labels)

    monkeypatch.setattr(temperature, "fit", spy)
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
    assert "T = 1.50" in result.how


@pytest.mark.parametrize("test", [True, False])
def test_what_could_not_be_fitted_leaves_the_model_as_it_is(test):
    model = one(test)
    model.card["metrics"]["temperature"] = 1.0
    model.answers["val"].logits[np.arange(150), model.answers["val"].labels] = 50.0
    result = calibrate(model)
    assert (result.temperatures, result.after, result.nll[1]) == ([], None, None)
    assert "No temperature" in result.how
