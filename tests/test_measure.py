"""What models are measured with, against scikit-learn and against sums done by hand."""

import numpy as np
import pytest
import torch
from sklearn import metrics as oracle

from pipeline.networks import NETWORKS
from pipeline.networks.classifier import Classifier, evaluate
from pipeline.report import measure


@pytest.fixture
def answers():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 5, (300,), generator=generator)
    logits = torch.randn(300, 5, generator=generator) + torch.eye(5)[labels]
    return logits, labels


def test_accuracy_loss_and_confusion_are_scikit_learns(answers):
    logits, labels = answers
    predicted = logits.argmax(1)
    assert evaluate.accuracy(logits, labels) == pytest.approx(
        oracle.accuracy_score(labels, predicted)
    )
    assert evaluate.negative_log_likelihood(logits, labels) == pytest.approx(
        oracle.log_loss(labels, logits.double().softmax(1))
    )
    assert np.array_equal(
        evaluate.confusion(logits, labels, 5), oracle.confusion_matrix(labels, predicted)
    )


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Classifier(NETWORKS["small_cnn"](1, 0.125, 0.0), {"a": 2, "b": 3}, [0.5], [0.3], 0.5)


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (11, 1, 8, 8), dtype=np.uint8)


def test_inference_is_without_noise_whatever_the_batch_size_and_the_mode(network, images):
    network.train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    whole = evaluate.infer(network, images)
    assert whole.shape == (11, 5) and network.training
    assert torch.allclose(whole, evaluate.infer(network, torch.from_numpy(images), batch_size=3))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert torch.equal(whole, evaluate.infer(network.eval(), images)) and not network.training


def test_no_images_give_no_logits(network, images):
    assert evaluate.infer(network, images[:0]).shape == (0, 5)


def test_the_interval_is_wilsons():
    assert measure.interval(0.5, 10) == pytest.approx((0.236593, 0.763407), abs=1e-5)
    assert measure.interval(0.0, 20) == pytest.approx((0.0, 0.161125), abs=1e-5)
    assert measure.interval(1.0, 20)[1] == pytest.approx(1.0)
    assert all(np.isnan(measure.interval(0.5, 0)))


def seen(logits, labels):
    images = torch.zeros(len(labels), 1, 8, 8)
    return measure.Seen(images, logits, logits, labels, np.array(["base"] * len(labels)))


def measured(logits, labels, **splits):
    card = {
        "num_parameters": 7,
        "images_seen": 9,
        "heads": [{"task": "base", "classes": list("abcde")}],
    }
    return measure.Measured(card, list("abcde"), {"val": seen(logits, labels), **splits})


def test_metrics_are_flat_and_hold_every_model(answers):
    logits, labels = answers
    half = seen(logits[:100], labels[:100])
    quality = {
        "g1": measure.LabelQuality(0.5, 40, None, np.array([8] * 5), np.array([6] * 5), None)
    }
    quality["g2"] = measure.LabelQuality(0.25, 30, 0.9, np.array([6] * 5), *2 * [np.array([4] * 5)])
    models = {name: measured(logits, labels, test=half) for name in ("teacher", "g1")}
    found = measure.metrics(models, quality)
    right = oracle.accuracy_score(labels[:100], logits[:100].argmax(1))
    assert found["acc/g1"] == pytest.approx(right, abs=1e-6)
    assert found["val_acc_low/g1"] < found["val_acc/g1"] < found["val_acc_high/g1"]
    assert found["num_parameters/teacher"] == 7
    assert "pseudo_labels/g1/accuracy" not in found
    assert found["pseudo_labels/g2/accuracy"] == 0.9


def test_without_test_there_is_no_test_accuracy(answers):
    found = measure.metrics({"teacher": measured(*answers)}, {})
    assert not any(key.startswith("acc/") for key in found)
