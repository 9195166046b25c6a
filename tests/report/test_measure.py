"""What models are measured with, against scikit-learn and against sums done by hand."""

import numpy as np
import pytest
import torch
from sklearn import metrics as oracle
from torch.nn import functional as F

from pipeline.data import store, tasks
from pipeline.labelling.confidence import Confidence
from pipeline.networks import NETWORKS, checkpoint, evaluate
from pipeline.networks.classifier import Classifier
from pipeline.params.check import load
from pipeline.report import measure
from pipeline.report.answers import Answers
from pipeline.report.label_quality import LabelQuality
from pipeline.report.measure import Measured
from pipeline.report.metrics import metrics


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
    return Classifier(
        NETWORKS["small_cnn"].build(1, 0.125, 0.0), {"a": 2, "b": 3}, [0.5], [0.3], 0.5
    )


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


@pytest.mark.parametrize(
    ("side", "image_size", "sizes"),
    [(8, 0, [200]), (32, 0, [200]), (64, 0, [128, 72]), (8, 64, [128, 72]), (64, 8, [128, 72])],
)
def test_large_images_are_inferred_fewer_at_a_time(network, side, image_size, sizes):
    network.image_size, seen = image_size, []
    network.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    evaluate.infer(network, torch.zeros(200, 1, side, side, dtype=torch.uint8))
    assert seen == sizes
    assert evaluate.at_a_time(40_000**2, torch.device("cpu")) == 1


def by_hand(name: str, images: np.ndarray) -> torch.Tensor:
    """Logits of a model of one task in float32, from its tensors."""
    network, _ = checkpoint.load(f"models/{name}")
    with torch.no_grad():
        normal = (torch.from_numpy(images) / 255 - network.mean) / network.std
        features = network.backbone(normal)
        return F.linear(features, network.newest_head.weight, network.newest_head.bias)


def test_the_report_measures_in_float32_what_trained_in_bf16(chain, monkeypatch):
    monkeypatch.setenv("LINEAGE_DTYPE", "bfloat16")
    monkeypatch.setenv("LINEAGE_THREADS", "2")
    threads = torch.get_num_threads()
    model = measure.models(load().lineage(), test=True)["g1"]
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    for split in ("val", "test"):
        images = tasks.dataset("base").array(split).copy()
        torch.testing.assert_close(
            model.answers[split].logits, by_hand("g1", images), atol=1e-5, rtol=1e-5
        )


def test_unlabelled_images_of_unknown_truth_are_not_counted(chain, monkeypatch):
    network, _ = checkpoint.load("models/g1")
    dataset = tasks.dataset("base")
    truth = dataset.truth().copy()
    right = by_hand("g1", dataset.array("unlabelled").copy()).argmax(1).numpy() == truth
    truth[::3] = -1
    known = truth >= 0
    monkeypatch.setattr(store.Dataset, "truth", lambda _: truth)
    assert measure.unlabelled_accuracy(network) == pytest.approx(right[known].mean())
    truth[:] = -1
    assert measure.unlabelled_accuracy(network) is None


def on_split(logits, labels):
    images = torch.zeros(len(labels), 1, 8, 8)
    return Answers(images, logits, logits, labels, np.array(["base"] * len(labels)))


def measured(logits, labels, **splits):
    card = {
        "num_parameters": 7,
        "images_seen": 9,
        "heads": [{"task": "base", "classes": list("abcde")}],
        "metrics": {},
    }
    return Measured(card, list("abcde"), {"val": on_split(logits, labels), **splits})


def test_metrics_are_flat_and_hold_every_model(answers):
    logits, labels = answers
    half = on_split(logits[:100], labels[:100])
    rows, images, none = np.array([8] * 5), np.array([6] * 5), np.zeros(5, dtype=int)
    sure = Confidence([0.5, 0.75, 1.0], [0.4, 0.7, 0.9])
    quality = {"g1": LabelQuality(0.5, 40, rows, images, none, none, sure)}
    known, right = np.array([4, 0, 0, 1, 0]), np.array([3, 0, 0, 1, 0])
    quality["g2"] = LabelQuality(0.5, 40, rows, images, known, right, sure, 0.125)
    models = {name: measured(logits, labels, test=half) for name in ("teacher", "g1")}
    numbers = metrics(models, quality)
    right = oracle.accuracy_score(labels[:100], logits[:100].argmax(1))
    assert numbers["acc/g1"] == pytest.approx(right, abs=1e-6)
    assert numbers["val_acc_low/g1"] < numbers["val_acc/g1"] < numbers["val_acc_high/g1"]
    assert numbers["num_parameters/teacher"] == 7
    assert "pseudo_labels/g1/accuracy" not in numbers
    assert numbers["pseudo_labels/g2/accuracy"] == 0.8  # of those whose truth is known
    assert "pseudo_labels/g1/foreign_share" not in numbers
    assert numbers["pseudo_labels/g2/foreign_share"] == 0.125
    assert numbers["confidence_gap/g1"] == 0.1


def test_without_test_there_is_no_test_accuracy(answers):
    numbers = metrics({"teacher": measured(*answers)}, {})
    assert not any(key.startswith("acc/") for key in numbers)
