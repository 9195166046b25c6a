"""A pair of Meta Pseudo Labels: the states of its passes, what a step notes, waiting, its state."""

import copy

import pairs
import pytest
import torch
from pairs import (
    CLASSES,
    IMAGES,
    OFF,
    comes_back,
    compare,
    correction,
    flat,
    learner,
    teacher_logits,
)
from torch.nn import functional as F

from pipeline.meta.options import Consistency
from pipeline.methods.semi_supervised.uda import UnsupervisedDataAugmentation
from pipeline.networks.batch_norm import batch_statistics
from pipeline.training.learner import Learner
from pipeline.training.method import Method
from pipeline.training.optimizer import learning_rate


@pytest.fixture
def batch():
    return pairs.batch()


@pytest.fixture
def training(tiny):
    return pairs.recipe(tiny.training)


# --- (e) without feedback -----------------------------------------------------------------------


def test_without_feedback_the_teacher_is_trained_by_labels_and_consistency(training, batch):
    uda = Consistency(weight=1.0, threshold=0.3, temperature=0.7, ramp_steps=2)
    options = {"uda": uda, "teacher_learning_rate": 0.05}
    pair = learner(training, 0.1, feedback="none", **options)
    recipe = training.model_copy(update={"learning_rate": 0.05})
    alone = Learner(pairs.network(2), recipe, methods={"uda": UnsupervisedDataAugmentation(uda)})
    for _ in range(4):
        pair.step(batch)
        alone.step(batch)
    mine, theirs = pair.teacher.network.state_dict(), alone.network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())


# --- the states of the passes, waiting, interruption ---------------------------------------------


def testlabelled_losses_are_measured_in_one_state_and_leave_none(training, batch):
    pair = learner(training, 0.1, feedback="loss_difference")
    pair.network.dropout = 0.5
    before = {name: value.clone() for name, value in pair.network.state_dict().items()}
    losses = [pair.labelled_loss(batch["labelled"]) for _ in range(3)]
    assert losses[0] == losses[1] == losses[2]
    after = pair.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_student_that_waits_does_not_move_and_gives_no_feedback(training, batch):
    pair = learner(training, 0.1, feedback="loss_difference", student_wait=2)
    start = [weight.detach().clone() for weight in pair.network.parameters()]
    for step in range(4):
        noted = pair.step(batch)
        moved = any(not torch.equal(a, b) for a, b in zip(start, pair.network.parameters()))
        assert moved == (step >= 2) and (float(noted["feedback"]) != 0) == (step >= 2)
    assert pair.num_steps == 4 and pair.teacher.num_steps == 4


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_what_a_step_notes(labels, training, batch):
    """Feedback and its sign, agreement, the teacher's losses, how many images count."""
    pair = learner(training, 0.1, labels=labels, uda=OFF.model_copy(update={"weight": 1.0}))
    noted = pair.step(batch)
    wanted = {"loss", "unlabelled", "feedback", "feedback_positive", "agreement", "uda_kept"}
    assert set(noted) == wanted | {"teacher/loss", "teacher/labelled", "teacher/uda"}
    assert float(noted["feedback_positive"]) == (float(noted["feedback"]) > 0)
    assert not any(value.requires_grad for value in noted.values())
    twins = learner(training, 0.1, labels=labels)
    twins.teacher.network.load_state_dict(twins.network.state_dict())
    alone = batch | {"labelled": batch["labelled"]._replace(images=batch["unlabelled"].images)}
    alone["labelled"] = alone["labelled"]._replace(targets=batch["labelled"].targets[:IMAGES])
    assert float(twins.step(alone)["agreement"]) == 1.0
    assert 0 <= float(noted["agreement"]) <= 1


def test_the_schedule_and_the_average_begin_when_the_waiting_ends(training, batch):
    """As of a student that does not wait; its random weights are as soon forgotten."""
    recipe = training.model_copy(update={"steps": 28, "warmup_steps": 2, "ema": 0.99})
    pair = learner(recipe, 0.1, student_wait=20)
    start = [weight.detach().clone() for weight in pair.network.parameters()]
    rates = []
    for _ in range(21):
        rates.append(pair.rate)
        pair.step(batch)
    later = recipe.model_copy(update={"steps": 8, "learning_rate": 0.1})
    assert rates == [0.0] * 20 + [learning_rate(later, 0)]
    for step in range(1, 8):
        assert pair.rate == learning_rate(later, step)
        pair.num_steps += 1
    forgotten = 1 - 2 / 11  # of the first update, as `average` says
    for before, now, mean in zip(start, pair.network.parameters(), pair.ema.parameters()):
        torch.testing.assert_close(mean, before + forgotten * (now - before))


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_of_a_teacher_that_diverged_the_loss_is_not_finite(labels, training, batch):
    """Nothing can be drawn from its answer; the loop stops at a loss that is not finite."""
    pair = learner(training, 0.1, labels=labels)
    with torch.no_grad():
        pair.teacher.network.newest_head.bias.fill_(torch.nan)
    assert pair.step(batch)["loss"].isnan()


def test_the_feedback_is_of_the_weights_that_step_in_full_precision(training, batch):
    """Neither of the averaged weights, nor in autocast, nor with label smoothing."""
    recipe = training.model_copy(update={"ema": 0.9, "label_smoothing": 0.1})
    pair = learner(recipe, 0.1)
    pair.step(batch)
    pair.autocast = lambda: torch.autocast("cpu", torch.bfloat16)
    images, targets = batch["labelled"].images.float(), batch["labelled"].targets.float()
    part = batch["labelled"]._replace(images=images, targets=targets)
    pair.network.float()
    pair.train_mode()
    with batch_statistics(pair.network):
        want = F.cross_entropy(pair.network(part.images).logits, part.targets)
    torch.testing.assert_close(pair.labelled_loss(part), want.detach(), rtol=1e-6, atol=0)


def test_the_teachers_correction_has_no_label_smoothing(training, batch):
    pair = learner(training, 0.1)
    pair.training = training.model_copy(update={"label_smoothing": 0.2})
    labels = torch.tensor([0, 1, 2, 0])
    weights, logits = teacher_logits(pair, batch)
    plain = flat(torch.autograd.grad(F.cross_entropy(logits, labels), weights))
    results = correction(pair, batch, F.one_hot(labels, CLASSES).double())
    assert abs(compare(results, plain)[0]) > 0.999999


def test_what_is_noted_is_the_feedback_itself(training, batch):
    """Before the average is taken off, which its mean and its sign would be lost in."""
    pair = learner(training, 0.1, baseline_decay=0.9)
    pair.baseline = torch.tensor(100.0, dtype=torch.float64)
    old = pair.labelled_loss(batch["labelled"])
    noted = pair.step(batch)
    assert noted["feedback"] == old - pair.labelled_loss(batch["labelled"])
    assert float(pair.baseline) == pytest.approx(90 + 0.1 * float(noted["feedback"]))


class Pull(Method):
    """A loss on the weights, one on the answer and a gradient: all that a method may add."""

    def losses(self, network, batch, output):
        weights = torch.stack([w.square().sum() for w in network.parameters()]).sum()
        return {"weights": 0.1 * weights, "answer": 0.1 * output.logits.square().mean()}

    def grads(self, network):
        return {name: 0.01 * torch.ones_like(w) for name, w in network.named_parameters()}


def pull() -> Pull:
    return Pull(Pull.Options())


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_methods_add_to_the_students_step_as_to_any(labels, training, batch, monkeypatch):
    pair = learner(training, 0.1, labels=labels)
    pair.methods = {"pull": pull()}
    alone = Learner(copy.deepcopy(pair.network), pair.training, methods={"pull": pull()})
    alone.optimizer.param_groups[0] |= {"momentum": 0.0, "nesterov": False}
    alone.optimizer.param_groups[1] |= {"momentum": 0.0, "nesterov": False}
    drawn = []
    targets = pair.targets
    monkeypatch.setattr(pair, "targets", lambda logits: drawn.append(targets(logits)) or drawn[0])
    noted = pair.step(batch)
    want = alone.step({"unlabelled": batch["unlabelled"]._replace(targets=drawn[0].detach())})
    torch.testing.assert_close(pair.network.state_dict(), alone.network.state_dict())
    torch.testing.assert_close({name: noted[name] for name in want}, want)


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_a_pair_comes_back_bit_for_bit(labels, training, batch):
    _, pair = comes_back(training, batch, labels=labels)
    assert labels == "soft" or float(pair.baseline) != 0
