"""Reduced Meta Pseudo Labels: the calibrator's gradient against the truth, and what it is given."""

import pairs
import pytest
import torch
from pairs import CLASSES, comes_back, compare, correction, expected_correction, flat, learner
from torch.nn import functional as F

from pipeline.meta.reduced import ReducedTeacher
from pipeline.networks.calibrator import Calibrator
from pipeline.training.optimizer import learning_rate


@pytest.fixture
def batch():
    return pairs.batch()


@pytest.fixture
def training(tiny):
    return pairs.recipe(tiny.training)


def small(training, options) -> ReducedTeacher:
    """A teacher of recorded answers to 6 labelled and 8 unlabelled images, in float64."""
    torch.manual_seed(5)
    answers = {"labelled": 2 * torch.randn(6, CLASSES), "unlabelled": 2 * torch.randn(8, CLASSES)}
    answers = {name: table.double() for name, table in answers.items()}
    network = pairs.stirred(Calibrator(CLASSES, 4)).double()
    return ReducedTeacher(network, training, options, answers)


@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_the_loss_difference_is_unbiased(rate, training, batch):
    """All draws of labels: the mean of h * gradient is the gradient of the mean new loss."""
    pair = learner(training, rate, 0.9, True, teach=small, feedback="loss_difference")
    truth = pairs.truth_for_hard_labels(pair, batch)
    cosine, ratio = compare(expected_correction(pair, batch), truth)
    assert cosine > 0.999999 and abs(ratio - 1) < 1e-6


def test_soft_labels_carry_the_exact_gradient(training, batch):
    pair = learner(training, 0.5, 0.9, True, teach=small, labels="soft")
    weights, logits = pairs.teacher_logits(pair, batch)
    loss = pairs.student_after(pair, batch, logits.softmax(1))
    truth = flat(torch.autograd.grad(loss, weights))
    cosine, ratio = compare(correction(pair, batch), truth)
    assert cosine > 0.999999 and abs(ratio - 1) < 1e-6


def test_without_feedback_the_calibrator_is_trained_by_labels_alone(training, batch):
    options = {"feedback": "none", "teacher_learning_rate": 0.05}
    pair = learner(training, 0.1, teach=small, **options)
    alone = small(pair.training, pair.options)
    plain = torch.optim.SGD(alone.network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    part = batch["labelled"]
    for step in range(4):
        pair.step(batch)
        plain.param_groups[0]["lr"] = learning_rate(pair.teacher.training, step)
        plain.zero_grad()
        F.cross_entropy(
            alone.network(alone.answers["labelled"][part.rows]), part.targets
        ).backward()
        plain.step()
    mine, theirs = pair.teacher.network.state_dict(), alone.network.state_dict()
    for name, value in mine.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-12, atol=1e-14)


def test_neither_images_nor_frozen_students_matter_to_the_calibrator(training, batch):
    """It sees rows of recorded answers; `train` is about the student."""
    pair = learner(training.model_copy(update={"train": "fc"}), 0.1, teach=small, feedback="none")
    other = {name: part._replace(images=-part.images) for name, part in batch.items()}
    asked = [pair.teacher.ask(given)[0] for given in (batch, other)]
    assert torch.equal(*asked) and len(asked[0]) == len(batch["unlabelled"].rows)
    assert torch.equal(asked[0][1], asked[0][3]), "row 2 twice"
    assert all(weight.requires_grad for weight in pair.teacher.network.parameters())


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_a_pair_comes_back_bit_for_bit(labels, training, batch):
    state, _ = comes_back(training, batch, teach=small, labels=labels)
    assert "teacher/ema/layers.2.weight" in state
