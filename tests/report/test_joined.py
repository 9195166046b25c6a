"""Images of several tasks are held once, and seen as one array."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline.data import store, tasks
from pipeline.labelling.pseudo_labels import PseudoLabels
from pipeline.networks import evaluate
from pipeline.networks.classifier import Classifier
from pipeline.networks.small_cnn import small_cnn
from pipeline.report import label_quality, measure
from pipeline.report.joined import Joined


@pytest.fixture
def parts(rng):
    return [
        torch.from_numpy(rng.integers(0, 256, (num, 1, 8, 8), dtype=np.uint8)) for num in (5, 0, 7)
    ]


def test_it_is_indexed_as_one_array(parts):
    joined, whole = Joined(parts), torch.cat(parts)
    assert len(joined) == 12
    for start in range(14):
        for stop in range(14):
            assert torch.equal(joined[start:stop], whole[start:stop])
    assert all(torch.equal(joined[row], image) for row, image in enumerate(whole))
    assert torch.equal(torch.stack(list(joined)), whole)


def test_a_network_answers_alike(parts):
    torch.manual_seed(0)
    network = Classifier(small_cnn(1, 0.25, 0.0), {"a": 2}, [0.5], [0.3]).eval()
    joined, whole = (
        evaluate.infer(network, images, batch_size=4)
        for images in (Joined(parts), torch.cat(parts))
    )
    assert torch.equal(joined, whole)


def test_models_share_the_images_of_a_task(parts, monkeypatch):
    def known(card, split, asked):
        """Read anew each time, as from disk."""
        return [
            tasks.Known(name, parts[0].clone(), torch.zeros(5, dtype=torch.int64), slice(0, 2))
            for name in card["tasks"]
        ]

    monkeypatch.setattr(measure.tasks, "known", known)
    monkeypatch.setattr(
        measure.evaluate, "infer", lambda _, images, __: torch.zeros(len(images), 2)
    )
    held = {}
    for name in (["base"], ["base", "t1"], ["base", "t2"]):
        answers = measure.evaluate_split(None, {"tasks": name}, "val", held)
        assert answers.images._parts[0] is held["val", "base"]
    assert set(held) == {("val", "base"), ("val", "t1"), ("val", "t2")}


def test_quality_is_of_the_labels_whose_truth_is_known_and_reads_no_image(monkeypatch):
    card = {
        "without_label": 0,
        "counts": {"unlabelled": {"a": 2, "b": 2}},
    }
    dataset = SimpleNamespace(card=card, classes=["a", "b"], is_dense=False)
    dataset.truth = lambda: np.array([0, -1, 1, 0])
    dataset.num = lambda split: store.Dataset.num(dataset, split)
    index = np.array([1, 2, 1])
    sure = {"val": [0.5, 0.8, 0.9], "unlabelled": [0.4, 0.7, 0.8]}
    metadata = {"confidence": sure, "foreign": {"cut": 0.0, "dropped": 1}}
    made = PseudoLabels(index, np.eye(2)[[1, 0, 1]], np.array([1, 0, 1]), np.ones(3), "hard")
    monkeypatch.setattr(label_quality.tasks, "dataset", lambda _: dataset)
    monkeypatch.setattr(label_quality.pseudo_labels, "load", lambda _: (made, metadata))
    results = label_quality.label_quality("g1")
    assert (results.kept_share, results.rows, results.accuracy) == (0.5, 3, 0.0)
    assert (results.per_class.tolist(), results.images.tolist()) == ([1, 2], [1, 1])
    assert (results.known.tolist(), results.right.tolist()) == ([1, 0], [0, 0])
    assert (results.confidence.gap, results.foreign_share) == (pytest.approx(0.1), 0.25)
