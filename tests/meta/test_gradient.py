"""Meta Pseudo Labels: the teacher's gradient against the truth, by enumeration and by autograd."""

import pairs
import pytest
import torch
from pairs import (
    CLASSES,
    IMAGES,
    all_labels,
    compare,
    correction,
    expected_correction,
    flat,
    learner,
    student_after,
    teacher_logits,
    truth_for_hard_labels,
)
from torch.nn import functional as F

from pipeline.meta.feedback import LossDifference


@pytest.fixture
def batch():
    return pairs.batch()


@pytest.fixture
def training(tiny):
    return pairs.recipe(tiny.training)


# --- (a) soft labels ---------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("rate", [1e-3, 0.1, 1.0])
def test_soft_labels_carry_the_exact_gradient(rate, momentum, training, batch):
    pair = learner(training, rate, momentum, past=momentum > 0, labels="soft")
    weights, logits = teacher_logits(pair, batch)
    loss = student_after(pair, batch, logits.softmax(1))
    truth = flat(torch.autograd.grad(loss, weights))
    cosine, ratio = compare(correction(pair, batch), truth)
    assert cosine > 0.999999 and abs(ratio - 1) < 1e-6


# --- (b) sampled labels, loss difference --------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("rate", [1e-3, 0.1, 1.0])
def test_the_loss_difference_is_unbiased_at_any_rate(rate, momentum, training, batch):
    pair = learner(training, rate, momentum, past=momentum > 0, feedback="loss_difference")
    cosine, ratio = compare(expected_correction(pair, batch), truth_for_hard_labels(pair, batch))
    assert cosine > 0.999999 and abs(ratio - 1) < 1e-6


def test_the_mean_is_a_share_of_the_sum(training, batch):
    labels = F.one_hot(torch.tensor([0, 1, 2, 0]), CLASSES).double()
    results = {
        scale: correction(
            learner(training, 0.1, scale=scale, feedback="loss_difference"), batch, labels
        )
        for scale in ("sum", "mean")
    }
    torch.testing.assert_close(results["mean"] * IMAGES, results["sum"])


def test_a_baseline_changes_no_expectation(training, batch):
    """It is the value before this step: known before the labels are drawn."""
    pair = learner(training, 0.1, feedback="loss_difference", baseline_decay=0.5)
    pair.baseline = torch.tensor(0.3, dtype=torch.float64)
    cosine, ratio = compare(expected_correction(pair, batch), truth_for_hard_labels(pair, batch))
    assert cosine > 0.999999 and abs(ratio - 1) < 1e-6


def test_a_baseline_that_saw_this_step_would_be_biased(training, batch, monkeypatch):
    """What the order guards against: subtracting the average after it has moved."""
    pair = learner(training, 0.1, feedback="loss_difference", baseline_decay=0.5)
    truth = truth_for_hard_labels(pair, batch)

    def late(self, labelled, logits, targets):
        raw = self.measure(labelled)
        self.baseline = 0.5 * self.baseline + 0.5 * raw
        return raw, (raw - self.baseline) * F.cross_entropy(logits, targets, reduction="sum")

    monkeypatch.setattr(LossDifference, "correction", late)
    _, ratio = compare(expected_correction(pair, batch), truth)
    assert abs(ratio - 1) > 0.1


# --- (c) sampled labels, inner product ----------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(
    ("rate", "cosine_above", "ratio_within"), [(1e-4, 0.999999, 1e-3), (0.1, 0.9, 0.2)]
)
def test_the_inner_product_tends_to_it(rate, cosine_above, ratio_within, momentum, training, batch):
    pair = learner(training, rate, momentum, feedback="inner_product")
    cosine, ratio = compare(expected_correction(pair, batch), truth_for_hard_labels(pair, batch))
    assert cosine > cosine_above and abs(ratio - 1) < ratio_within


def test_the_inner_product_is_of_the_step_that_was_made(training, batch):
    """By the clipped gradient; and by the gradient alone, where the optimiser adds its momentum to
    it in place, as it does on a GPU."""
    recipe = training.model_copy(update={"clip_norm": 0.01})
    pair = learner(recipe, 1e-3, feedback="inner_product")
    old = pair.labelled_loss(batch["labelled"])
    feedback = float(pair.step(batch)["feedback"])
    made = float((old - pair.labelled_loss(batch["labelled"])).detach())
    assert feedback == pytest.approx(made, rel=1e-3)
    labels = F.one_hot(torch.tensor([0, 1, 2, 0]), CLASSES).double()
    pair = learner(training, 0.1, 0.9, True, feedback="inner_product")
    want = correction(pair, batch, labels)
    for group in pair.optimizer.param_groups:
        group["foreach"] = True
    torch.testing.assert_close(correction(pair, batch, labels), want)


@pytest.mark.parametrize("options", [{"feedback": "inner_product"}, {"labels": "soft"}], ids=str)
def test_weights_that_stay_have_no_part_in_it(options, training, batch):
    """The truth moves the student's trained weights alone; the teacher's gradient likewise."""
    pair = learner(training.model_copy(update={"train": "fc"}), 1e-4, 0.9, True, **options)
    before = pair.network.backbone.state_dict()
    before = {name: value.clone() for name, value in before.items()}
    if options.get("labels") == "soft":
        weights, logits = teacher_logits(pair, batch)
        loss = student_after(pair, batch, logits.softmax(1))
        results, truth = correction(pair, batch), flat(torch.autograd.grad(loss, weights))
    else:
        results, truth = expected_correction(pair, batch), truth_for_hard_labels(pair, batch)
    cosine, ratio = compare(results, truth)
    assert cosine > 0.999999 and abs(ratio - 1) < 1e-3
    pair.step(batch)
    after = pair.network.backbone.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


# --- (d) what public code does ------------------------------------------------------------------


def wrong_sign(pair, batch):
    return -expected_correction(pair, batch)


def argmax_labels(pair, batch):
    _, logits = teacher_logits(pair, batch)
    return correction(pair, batch, F.one_hot(logits.argmax(1), CLASSES).double())


def other_view(pair, batch):
    """The student's labels are those of the weak view, the teacher's loss is on the strong one."""
    swapped = batch | {"unlabelled": batch["weak"]}
    _, logits = teacher_logits(pair, swapped)
    p, total = logits.detach().softmax(1), torch.zeros(())
    for labels in all_labels():
        chance = p[torch.arange(IMAGES), labels].prod()
        total = total + chance * correction(pair, batch, F.one_hot(labels, CLASSES).double())
    return total


def self_cross_entropy(pair, batch):
    """H(sg p, p) in the place of H(y, p): its gradient is zero, whatever the feedback."""
    weights, logits = teacher_logits(pair, batch)
    loss = F.cross_entropy(logits, logits.detach().softmax(1), reduction="sum")
    return flat(torch.autograd.grad(loss, weights)) + 1e-300


@pytest.mark.parametrize(
    "mistake", [wrong_sign, argmax_labels, other_view, self_cross_entropy], ids=lambda f: f.__name__
)
def test_mistakes_of_public_code_show(mistake, training, batch):
    pair = learner(training, 0.1, feedback="loss_difference")
    cosine, ratio = compare(mistake(pair, batch), truth_for_hard_labels(pair, batch))
    assert cosine < 0.999 or abs(ratio - 1) > 1e-3


def test_labels_are_drawn_from_the_answer(training, batch):
    """Frequencies of sampled labels are the teacher's probabilities."""
    pair = learner(training, 0.1)
    logits = torch.tensor([[1.0, 0.0, -1.0]]).expand(20_000, -1)
    torch.manual_seed(0)
    drawn = pair.targets(logits)
    assert set(drawn.unique().tolist()) == {0.0, 1.0} and (drawn.sum(1) == 1).all()
    torch.testing.assert_close(drawn.mean(0), logits[0].softmax(0), atol=0.01, rtol=0)
