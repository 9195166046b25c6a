"""Soft or hard: said once, by the rule, and kept to the loss, whatever the numbers look like."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from learners import learner
from torch.nn import functional as F

from pipeline.augment import WeakView
from pipeline.data.batches import Batches
from pipeline.labelling import pseudo_labels
from pipeline.labelling.pseudo_labels import PseudoLabels
from pipeline.labelling.rule import Labels
from pipeline.students.learn import pseudo_labelled

KINDS = pytest.mark.parametrize("kind", ["soft", "hard"])
RULE = Labels(threshold=0.0, share=1.0, temperature=1.0, kind="soft", balance="none")
SURE = np.full((12, 3), 1e-9)  # beyond what float16 tells from 1 and 0
SURE[np.arange(12), np.arange(12) % 3] = 1 - 2e-9
SMOOTHING = 0.3


def made(kind: str) -> PseudoLabels:
    rule = RULE.model_copy(update={"kind": kind})
    return pseudo_labels.make(SURE, rule, [np.random.default_rng(0)] * 3)


def part(labels: PseudoLabels):
    """What a student's first batch has of these labels."""
    images = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
    view = WeakView(shift=0, flip=False)
    job = SimpleNamespace(
        pseudo_labels=labels,
        run=SimpleNamespace(device=torch.device("cpu")),
        images=SimpleNamespace(images=lambda split: torch.from_numpy(images), strong=view),
        config=SimpleNamespace(training=SimpleNamespace(num_unlabelled=12)),
    )
    return Batches(pseudo_labelled(job), seed=0, model="g1")(0)["pseudo"]


def test_both_kinds_may_have_the_same_numbers():
    soft, hard = made("soft"), made("hard")
    for name, array in soft.arrays.items():
        assert np.array_equal(array, hard.arrays[name])
    assert set(np.unique(soft.probs)) == {0, 1}


@KINDS
def test_the_kind_is_the_rules_and_stays_in_the_file_and_in_a_students_batches(tmp_path, kind):
    labels = made(kind)
    pseudo_labels.save(tmp_path / "g1", labels, classes=["a", "b", "c"])
    read, metadata = pseudo_labels.load(tmp_path / "g1")
    assert labels.kind == read.kind == metadata["kind"] == kind
    assert part(read).soft == (kind == "soft")


def test_labels_of_another_kind_are_other_labels(tmp_path):
    labels = made("soft")
    assert labels.digest() != replace(labels, kind="hard").digest()
    pseudo_labels.save(tmp_path / "soft", labels)
    pseudo_labels.save(tmp_path / "hard", replace(labels, kind="hard"))
    assert (tmp_path / "soft").read_bytes() != (tmp_path / "hard").read_bytes()


@KINDS
def test_hard_labels_are_smoothed_and_soft_ones_are_not_even_if_they_are_one_hot(kind):
    """Against torch's own smoothing."""
    batch = {"pseudo": part(made(kind))}
    student = learner(label_smoothing=SMOOTHING)
    output, losses = student.losses(batch)
    smoothing = SMOOTHING if kind == "hard" else 0.0
    classes = batch["pseudo"].targets.argmax(1)
    expected = F.cross_entropy(output.logits, classes, label_smoothing=smoothing)
    torch.testing.assert_close(losses["pseudo"], expected)
    other = F.cross_entropy(output.logits, classes, label_smoothing=SMOOTHING - smoothing)
    assert abs(losses["pseudo"] - other) > 1e-3
