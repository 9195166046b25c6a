"""Calibration: bins against brute force and scikit-learn, temperature against a direct search."""

import made_up
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.calibration import calibration_curve

from pipeline.report import calibration
from pipeline.report.calibration import binned, calibrate, likelihood, softmax, temperature


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
    probs = softmax(logits)
    probs[0] = np.eye(num_classes)[0]  # a confidence of 1 belongs to the last bin
    edge = np.full(num_classes, (1 - 9 / 15) / (num_classes - 1))
    edge[0] = 9 / 15  # and one of 9/15 to the ninth, (8/15, 9/15]
    probs[1] = edge
    found = binned(probs, labels)
    error = 0.0
    for i in range(15):
        rows = [p for p in range(400) if i / 15 < probs[p].max() <= (i + 1) / 15]
        assert found.count[i] == len(rows)
        if rows:
            sure = sum(probs[p].max() for p in rows) / len(rows)
            right = sum(probs[p].argmax() == labels[p] for p in rows) / len(rows)
            assert found.confidence[i] == pytest.approx(sure)
            assert found.accuracy[i] == pytest.approx(right)
            error += len(rows) / 400 * abs(sure - right)
    assert found.error == pytest.approx(error)
    assert 0.02 < error < 0.5


def test_bins_agree_with_scikit_learn():
    logits, labels = drawn(500, 6)
    probs = softmax(logits)
    found = binned(probs, labels)
    right, sure = calibration_curve(
        probs.argmax(1) == labels, probs.max(1), n_bins=15, strategy="uniform"
    )
    filled = found.count > 0
    np.testing.assert_allclose(found.accuracy[filled], right)
    np.testing.assert_allclose(found.confidence[filled], sure)


def test_a_calibrated_model_has_a_small_error():
    rng = np.random.default_rng(0)
    probs = softmax(rng.normal(size=(50_000, 4)))
    labels = (rng.random((50_000, 1)) > probs.cumsum(1)).sum(1)
    assert binned(probs, labels).error < 0.01
    assert binned(softmax(3 * np.log(probs)), labels).error > 0.1


@pytest.mark.parametrize(
    ("num", "num_classes", "classes"),
    [(300, 10, None), (300, 2, None), (60, 3, [0, 2]), (40, 100, [3, 97]), (50, 2, [1])],
)
def test_temperature_is_that_of_a_direct_search(num, num_classes, classes):
    logits, labels = drawn(num, num_classes, classes)
    best = minimize_scalar(
        lambda t: likelihood(logits / np.exp(t), labels), bounds=(-5, 5), options={"xatol": 1e-9}
    )
    assert temperature(logits, labels) == pytest.approx(np.exp(best.x), rel=1e-4)


def test_units_that_are_ruled_out_change_no_temperature():
    logits, labels = drawn(200, 5)
    wider = np.concatenate([logits, np.full((200, 3), -np.inf)], axis=1)
    assert temperature(wider, labels) == pytest.approx(temperature(logits, labels), rel=1e-6)
    assert likelihood(wider, labels) == pytest.approx(likelihood(logits, labels))


def test_no_temperature_where_all_is_right():
    assert temperature(10 * np.eye(4), np.arange(4)) is None


def one(test, **options):
    params = made_up.params({}, {}, "teacher", list("abcde"), test=test)
    return made_up.models(params, each=30, **options)["teacher"]


def test_with_test_val_fits_and_test_shows():
    model = one(test=True)
    found = calibrate(model)
    val, test = model.seen["val"], model.seen["test"]
    (fitted,) = found.temperatures
    assert fitted == temperature(val.logits.double().numpy(), val.labels.numpy())
    logits, labels = test.logits.double().numpy(), test.labels.numpy()
    assert found.nll == (
        pytest.approx(likelihood(logits, labels)),
        pytest.approx(likelihood(logits / fitted, labels)),
    )
    assert found.after.error == pytest.approx(binned(softmax(logits / fitted), labels).error)
    assert "shown on test" in found.how


def test_without_test_no_image_is_scaled_by_what_it_helped_to_fit(monkeypatch):
    fitted_on = []
    real = calibration.temperature

    def spy(logits, labels):
        fitted_on.append({row.tobytes() for row in logits})
        return real(logits, labels)

    monkeypatch.setattr(calibration, "temperature", spy)
    model = one(test=False)
    found = calibrate(model)
    rows = model.seen["val"].logits.double().numpy()
    labels = model.seen["val"].labels.numpy()
    first, second = fitted_on
    assert not first & second
    assert first | second == {row.tobytes() for row in rows}
    temperatures = [found.temperatures[row.tobytes() in first] for row in rows]
    scaled = rows / np.array(temperatures)[:, None]
    assert found.nll[1] == pytest.approx(likelihood(scaled, labels))


def test_a_perfect_val_leaves_the_model_as_it_is():
    model = one(test=True)
    model.seen["val"].logits[np.arange(150), model.seen["val"].labels] = 50.0
    found = calibrate(model)
    assert (found.temperatures, found.after, found.nll[1]) == ([], None, None)
    assert "No temperature" in found.how
