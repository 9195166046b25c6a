"""The losses of a batch against torch's, part by part."""

import pytest
import torch
from learners import batch, learner, part
from torch.nn import functional as F

from pipeline.training.learner import cross_entropy


@pytest.fixture
def logits():
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def soft():
    return torch.rand(6, 3, generator=torch.Generator().manual_seed(2)).softmax(1)


def test_on_one_hot_targets_the_loss_is_torchs(logits):
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    ours = cross_entropy(logits, torch.eye(3)[labels])
    assert ours.item() == pytest.approx(F.cross_entropy(logits, labels).item(), abs=1e-6)


def test_on_soft_targets_the_loss_is_its_definition(logits, soft):
    by_hand = -(soft * logits.log_softmax(1)).sum() / 6
    assert cross_entropy(logits, soft).item() == pytest.approx(by_hand.item(), abs=1e-6)


def test_weights_count_and_the_divisor_stays_the_number_of_samples(logits, soft):
    weights = torch.tensor([0.0, 1.0, 2.0, 0.5, 0.0, 3.0])
    single = torch.stack([cross_entropy(logits[i : i + 1], soft[i : i + 1]) for i in range(6)])
    expected = (single * weights).sum() / 6
    assert cross_entropy(logits, soft, weights).item() == pytest.approx(expected.item(), abs=1e-6)
    ones = cross_entropy(logits, soft, torch.ones(6))
    assert torch.equal(ones, cross_entropy(logits, soft))


def test_smoothing_of_one_hot_targets_is_torchs(logits):
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    ours = cross_entropy(logits, torch.eye(3)[labels], smoothing=0.2)
    theirs = F.cross_entropy(logits, labels, label_smoothing=0.2)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)


@pytest.mark.parametrize("targets", ["one-hot", "soft"])
def test_smoothing_is_for_labels_and_not_for_a_models_probabilities(targets):
    """What a part says of its targets decides, not their values: a teacher may be quite sure."""
    made = learner(label_smoothing=0.2, ema=0.0)
    given = part(8, soft=targets == "soft")
    logits = made.network.train()(given.images).logits
    for soft, smoothing in ((True, 0.0), (False, 0.2)):
        results = made.losses({"pseudo": given._replace(soft=soft)})[1]["pseudo"]
        wanted = F.cross_entropy(logits, given.targets, label_smoothing=smoothing)
        assert results.item() == pytest.approx(wanted.item(), abs=1e-5)


def test_the_loss_is_the_weighted_sum_of_its_parts():
    losses = learner({"pseudo": 0.3}).losses(batch())[1]
    assert list(losses) == ["loss", "labelled", "pseudo"]
    expected = losses["labelled"] + 0.3 * losses["pseudo"]
    assert losses["loss"].item() == pytest.approx(expected.item(), abs=1e-6)


def test_a_weight_of_zero_is_a_teacher_without_pseudo_labels_but_for_batch_norm():
    made = learner({"pseudo": 0.0})
    made.train_mode = made.network.eval
    alone = made.losses({"labelled": batch()["labelled"]})[1]
    assert torch.allclose(made.losses(batch())[1]["loss"], alone["loss"], atol=1e-6)


def test_all_parts_share_one_forward_pass():
    made, seen = learner(), []
    made.network.register_forward_hook(lambda *given: seen.append(len(given[1][0])))
    losses = made.losses(batch())[1]
    assert seen == [12]
    images = torch.cat([p.images for p in batch().values()])
    logits = made.network.train()(images).logits
    for name, rows in (("labelled", slice(0, 4)), ("pseudo", slice(4, 12))):
        expected = F.cross_entropy(logits[rows], batch()[name].targets)
        assert losses[name].item() == pytest.approx(expected.item(), abs=1e-6)
