"""Meta Pseudo Labels: the teacher's gradient against the truth, by enumeration and by autograd."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipeline.data.batches import Part
from pipeline.meta.options import MetaPseudoLabels as Options
from pipeline.meta.pair import ConsistentTeacher, MetaPseudoLabels
from pipeline.meta.reduced import ReducedTeacher
from pipeline.methods.semi_supervised.uda import UnsupervisedDataAugmentation
from pipeline.networks.classifier import Classifier
from pipeline.params import UDA
from pipeline.training.learner import Learner
from pipeline.training.method import Method
from pipeline.training.optimizer import learning_rate

CLASSES, IMAGES = 3, 4  # 3^4 draws of labels
OFF = UDA(weight=0.0, threshold=0.0, temperature=1.0, ramp_steps=0)


class Tiny(nn.Module):
    """A backbone with a hidden layer and BatchNorm."""

    num_features = 5

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, 5, 1), nn.BatchNorm2d(5), nn.Tanh(), nn.Conv2d(5, 5, 1), nn.Tanh()
        )

    def forward(self, images):
        return self.layers(images).mean((2, 3))


def network(seed: int) -> Classifier:
    torch.manual_seed(seed)
    made = Classifier(Tiny(), {"base": CLASSES}, [0.1, -0.1], [0.8, 1.1])
    return made.double()


@pytest.fixture
def batch() -> dict[str, Part]:
    torch.manual_seed(3)

    def images(num):
        return torch.randn(num, 2, 2, 2, dtype=torch.float64)

    labels = torch.eye(CLASSES, dtype=torch.float64)[torch.arange(6) % CLASSES]
    return {
        "labelled": Part(images(6), labels, None, torch.tensor([4, 1, 0, 5, 2, 3])),
        "unlabelled": Part(images(IMAGES), None, None, torch.tensor([6, 2, 7, 2])),
        "weak": Part(images(IMAGES), None, None, None),
    }


@pytest.fixture
def training(tiny):
    calm = {"ema": 0.0, "dropout": 0.0, "label_smoothing": 0.0, "warmup_steps": 0, "steps": 10**9}
    return tiny.training.model_copy(update=calm | {"weight_decay": 0.0, "clip_norm": 0.0})


def whole(training, options: Options) -> ConsistentTeacher:
    """A teacher that is a network of its own."""
    return ConsistentTeacher(network(2), training, options)


def learner(
    training, rate: float, momentum: float = 0.0, past: bool = False, teach=whole, **options
):
    """A pair in float64; `past`: the momentum buffers hold an earlier step's gradient; `teach`
    makes the teacher."""
    defaults = {"teacher": "t", "network": "small_cnn", "teacher_learning_rate": 1e-9, "uda": OFF}
    defaults |= {"baseline_decay": 1.0, "scale": "sum"}
    recipe = training.model_copy(update={"learning_rate": rate})
    chosen = Options.model_construct(**{**Options(**defaults).__dict__, **options})
    teacher = teach(recipe, chosen)
    made = MetaPseudoLabels(network(1), recipe, chosen, teacher)
    made.optimizer = torch.optim.SGD(
        made.network.parameters(), lr=rate, momentum=momentum, nesterov=momentum > 0
    )
    if past:
        torch.manual_seed(9)
        for weight in made.network.parameters():
            made.optimizer.state[weight]["momentum_buffer"] = 0.1 * torch.randn_like(weight)
    return made


def flat(gradients) -> torch.Tensor:
    return torch.cat([g.flatten() for g in gradients])


def student_after(pair: MetaPseudoLabels, batch, targets) -> torch.Tensor:
    """The labelled loss after the student's step on `targets`, as plain autograd sees it."""
    weights = {n: w for n, w in pair.network.named_parameters() if w.requires_grad}
    group = pair.optimizer.param_groups[0]

    def loss(weights, part, targets):
        pair.train_mode()
        state = weights | {"mean": pair.network.mean, "std": pair.network.std}
        with batch_norm_of_the_batch(pair.network):
            logits = torch.func.functional_call(pair.network, state, (part.images,)).logits
        return F.cross_entropy(logits, targets)

    grads = torch.autograd.grad(
        loss(weights, batch["unlabelled"], targets), list(weights.values()), create_graph=True
    )
    moved = {}
    for (name, weight), grad in zip(weights.items(), grads):
        step = grad
        if group["momentum"]:
            buffer = pair.optimizer.state[weight].get("momentum_buffer")
            buffer = grad if buffer is None else group["momentum"] * buffer + grad
            step = grad + group["momentum"] * buffer
        moved[name] = weight - group["lr"] * step
    return loss(moved, batch["labelled"], batch["labelled"].targets)


def batch_norm_of_the_batch(network):
    from pipeline.networks.batch_norm import batch_statistics

    return batch_statistics(network)


def teacher_logits(pair: MetaPseudoLabels, batch) -> tuple[list, torch.Tensor]:
    """The teacher's pass that gets the gradient: its weights to train, the strong view's logits."""
    weights, logits = teacher_pass(pair, batch)
    return weights, logits[len(batch["labelled"].images) :]


def teacher_pass(pair: MetaPseudoLabels, batch) -> tuple[list, torch.Tensor]:
    """The weights to train of a copy, and its logits of labelled and strong images together."""
    teacher = copy.deepcopy(pair.teacher)
    teacher.train_mode()
    parts = [batch["labelled"], batch["unlabelled"]]
    weights = [weight for weight in teacher.network.parameters() if weight.requires_grad]
    if isinstance(teacher, ReducedTeacher):
        tables = [teacher.answers["labelled"], teacher.answers["unlabelled"]]
        answers = [table[part.rows] for part, table in zip(parts, tables)]
        return weights, teacher.network(torch.cat(answers))
    return weights, teacher.network(torch.cat([part.images for part in parts])).logits


def correction(pair: MetaPseudoLabels, batch, targets=None) -> torch.Tensor:
    """The gradient that one step adds to the teacher's, for given labels."""
    pair = copy.deepcopy(pair)
    seen = {}
    if targets is not None:
        pair._targets = lambda logits: targets
    pair.teacher.apply = lambda: seen.update(
        grads=[w.grad.clone() for w in pair.teacher.network.parameters() if w.requires_grad]
    )
    pair.step(batch)
    weights, logits = teacher_pass(pair, batch)
    own = F.cross_entropy(logits[:6], batch["labelled"].targets)
    without = torch.autograd.grad(own, weights)
    return flat(seen["grads"]) - flat(without)


def all_labels():
    for labels in itertools.product(range(CLASSES), repeat=IMAGES):
        yield torch.tensor(labels)


def truth_for_hard_labels(pair, batch) -> torch.Tensor:
    """grad over phi of E over labels of the labelled loss after the step, all draws enumerated."""
    weights, logits = teacher_logits(pair, batch)
    log_p = logits.log_softmax(1)
    expected = torch.zeros((), dtype=torch.float64)
    for labels in all_labels():
        targets = F.one_hot(labels, CLASSES).double()
        chance = log_p[torch.arange(IMAGES), labels].sum().exp()
        expected = expected + chance * student_after(pair, batch, targets).detach()
    return flat(torch.autograd.grad(expected, weights))


def expected_correction(pair, batch) -> torch.Tensor:
    """The mean over all draws of what the learner adds to the teacher's gradient."""
    _, logits = teacher_logits(pair, batch)
    p = logits.detach().softmax(1)
    total = torch.zeros(())
    for labels in all_labels():
        chance = p[torch.arange(IMAGES), labels].prod()
        targets = F.one_hot(labels, CLASSES).double()
        total = total + chance * correction(pair, batch, targets)
    return total


def compare(one: torch.Tensor, other: torch.Tensor) -> tuple[float, float]:
    """Cosine, and ratio of norms."""
    return float(F.cosine_similarity(one, other, dim=0)), float(one.norm() / other.norm())


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
    found = {
        scale: correction(
            learner(training, 0.1, scale=scale, feedback="loss_difference"), batch, labels
        )
        for scale in ("sum", "mean")
    }
    torch.testing.assert_close(found["mean"] * IMAGES, found["sum"])


def test_a_baseline_changes_no_expectation(training, batch):
    """It is the value before this step: known before the labels are drawn."""
    pair = learner(training, 0.1, feedback="loss_difference", baseline_decay=0.5)
    pair.baseline = torch.tensor(0.3, dtype=torch.float64)
    cosine, ratio = compare(expected_correction(pair, batch), truth_for_hard_labels(pair, batch))
    assert cosine > 0.999999 and abs(ratio - 1) < 1e-6


def test_a_baseline_that_saw_this_step_would_be_biased(training, batch):
    """What the order guards against: subtracting the average after it has moved."""
    pair = learner(training, 0.1, feedback="loss_difference", baseline_decay=0.5)
    truth = truth_for_hard_labels(pair, batch)
    real = MetaPseudoLabels._feedback

    def late(self, labelled, logits, targets, old):
        raw = old - self._labelled_loss(labelled)
        self.baseline = 0.5 * self.baseline + 0.5 * raw
        return raw, (raw - self.baseline) * F.cross_entropy(logits, targets, reduction="sum")

    MetaPseudoLabels._feedback = late
    try:
        _, ratio = compare(expected_correction(pair, batch), truth)
    finally:
        MetaPseudoLabels._feedback = real
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
    old = pair._labelled_loss(batch["labelled"])
    told = float(pair.step(batch)["feedback"])
    made = float(old - pair._labelled_loss(batch["labelled"]))
    assert told == pytest.approx(made, rel=1e-3)
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
    still = pair.network.backbone.state_dict()
    still = {name: value.clone() for name, value in still.items()}
    if options.get("labels") == "soft":
        weights, logits = teacher_logits(pair, batch)
        loss = student_after(pair, batch, logits.softmax(1))
        found, truth = correction(pair, batch), flat(torch.autograd.grad(loss, weights))
    else:
        found, truth = expected_correction(pair, batch), truth_for_hard_labels(pair, batch)
    cosine, ratio = compare(found, truth)
    assert cosine > 0.999999 and abs(ratio - 1) < 1e-3
    pair.step(batch)
    after = pair.network.backbone.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in still.items())


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
def test_mistakes_of_public_code_are_told_apart(mistake, training, batch):
    pair = learner(training, 0.1, feedback="loss_difference")
    cosine, ratio = compare(mistake(pair, batch), truth_for_hard_labels(pair, batch))
    assert cosine < 0.999 or abs(ratio - 1) > 1e-3


def test_labels_are_drawn_from_the_answer(training, batch):
    """Frequencies of sampled labels are the teacher's probabilities."""
    pair = learner(training, 0.1)
    logits = torch.tensor([[1.0, 0.0, -1.0]]).expand(20_000, -1)
    torch.manual_seed(0)
    drawn = pair._targets(logits)
    assert set(drawn.unique().tolist()) == {0.0, 1.0} and (drawn.sum(1) == 1).all()
    torch.testing.assert_close(drawn.mean(0), logits[0].softmax(0), atol=0.01, rtol=0)


# --- (e) without feedback -----------------------------------------------------------------------


def test_without_feedback_the_teacher_is_trained_by_labels_and_consistency(training, batch):
    uda = UDA(weight=1.0, threshold=0.3, temperature=0.7, ramp_steps=2, confidence="sharpened")
    options = {"uda": uda, "teacher_learning_rate": 0.05}
    pair = learner(training, 0.1, feedback="none", **options)
    recipe = training.model_copy(update={"learning_rate": 0.05})
    alone = Learner(network(2), recipe, methods=[UnsupervisedDataAugmentation(uda)])
    for _ in range(4):
        pair.step(batch)
        alone.step(batch)
    mine, theirs = pair.teacher.network.state_dict(), alone.network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())


# --- the states of the passes, waiting, interruption ---------------------------------------------


def test_labelled_losses_are_measured_in_one_state_and_leave_none(training, batch):
    pair = learner(training, 0.1, feedback="loss_difference")
    pair.network.dropout = 0.5
    before = {name: value.clone() for name, value in pair.network.state_dict().items()}
    losses = [pair._labelled_loss(batch["labelled"]) for _ in range(3)]
    assert losses[0] == losses[1] == losses[2]
    after = pair.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_student_that_waits_does_not_move_and_gives_no_feedback(training, batch):
    pair = learner(training, 0.1, feedback="loss_difference", student_wait=2)
    start = [weight.detach().clone() for weight in pair.network.parameters()]
    for step in range(4):
        told = pair.step(batch)
        moved = any(not torch.equal(a, b) for a, b in zip(start, pair.network.parameters()))
        assert moved == (step >= 2) and (float(told["feedback"]) != 0) == (step >= 2)
    assert pair.num_steps == 4 and pair.teacher.num_steps == 4


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_what_a_step_tells(labels, training, batch):
    """Feedback and its sign, agreement, the teacher's losses, how many images count."""
    pair = learner(training, 0.1, labels=labels, uda=OFF.model_copy(update={"weight": 1.0}))
    told = pair.step(batch)
    wanted = {"loss", "unlabelled", "feedback", "feedback_positive", "agreement", "uda_kept"}
    assert set(told) == wanted | {"teacher/loss", "teacher/labelled", "teacher/uda"}
    assert float(told["feedback_positive"]) == (float(told["feedback"]) > 0)
    assert not any(value.requires_grad for value in told.values())
    twins = learner(training, 0.1, labels=labels)
    twins.teacher.network.load_state_dict(twins.network.state_dict())
    alone = batch | {"labelled": batch["labelled"]._replace(images=batch["unlabelled"].images)}
    alone["labelled"] = alone["labelled"]._replace(targets=batch["labelled"].targets[:IMAGES])
    assert float(twins.step(alone)["agreement"]) == 1.0
    assert 0 <= float(told["agreement"]) <= 1


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
def test_of_a_teacher_that_diverged_the_loss_tells(labels, training, batch):
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
    with batch_norm_of_the_batch(pair.network):
        want = F.cross_entropy(pair.network(part.images).logits, part.targets)
    torch.testing.assert_close(pair._labelled_loss(part), want.detach(), rtol=1e-6, atol=0)


def test_the_teachers_correction_has_no_label_smoothing(training, batch):
    pair = learner(training, 0.1)
    pair.training = training.model_copy(update={"label_smoothing": 0.2})
    labels = torch.tensor([0, 1, 2, 0])
    weights, logits = teacher_logits(pair, batch)
    plain = flat(torch.autograd.grad(F.cross_entropy(logits, labels), weights))
    found = correction(pair, batch, F.one_hot(labels, CLASSES).double())
    assert abs(compare(found, plain)[0]) > 0.999999


def test_what_is_told_is_the_feedback_itself(training, batch):
    """Before the average is taken off, which its mean and its sign would be lost in."""
    pair = learner(training, 0.1, baseline_decay=0.9)
    pair.baseline = torch.tensor(100.0, dtype=torch.float64)
    old = pair._labelled_loss(batch["labelled"])
    told = pair.step(batch)
    assert float(told["feedback"]) == float(old - pair._labelled_loss(batch["labelled"]))
    assert float(pair.baseline) == pytest.approx(90 + 0.1 * float(told["feedback"]))


class Pull(Method):
    """A loss on the weights, one on the answer and a gradient: all that a method may add."""

    def losses(self, network, batch, output):
        weights = torch.stack([w.square().sum() for w in network.parameters()]).sum()
        return {"weights": 0.1 * weights, "answer": 0.1 * output.logits.square().mean()}

    def grads(self, network):
        return {name: 0.01 * torch.ones_like(w) for name, w in network.named_parameters()}


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_methods_add_to_the_students_step_as_to_any(labels, training, batch, monkeypatch):
    pair = learner(training, 0.1, labels=labels)
    pair.methods = [Pull()]
    alone = Learner(copy.deepcopy(pair.network), pair.training, methods=[Pull()])
    alone.optimizer.param_groups[0] |= {"momentum": 0.0, "nesterov": False}
    alone.optimizer.param_groups[1] |= {"momentum": 0.0, "nesterov": False}
    drawn = []
    targets = pair._targets
    monkeypatch.setattr(pair, "_targets", lambda logits: drawn.append(targets(logits)) or drawn[0])
    told = pair.step(batch)
    want = alone.step({"unlabelled": batch["unlabelled"]._replace(targets=drawn[0].detach())})
    torch.testing.assert_close(pair.network.state_dict(), alone.network.state_dict())
    torch.testing.assert_close({name: told[name] for name in want}, want)


def comes_back(training, batch, **options) -> tuple[dict, MetaPseudoLabels]:
    """Six steps at a stretch, and three, a new pair from their state, and three: bit for bit the
    same. Returns the state and the pair."""
    recipe = training.model_copy(update={"ema": 0.9})
    options |= {"teacher_learning_rate": 0.05, "baseline_decay": 0.9}
    whole, cut, fresh = (learner(recipe, 0.1, 0.9, **options) for _ in range(3))

    def go(pair, steps):
        for step in steps:
            torch.manual_seed(step)
            pair.step(batch)

    go(whole, range(6))
    go(cut, range(3))
    fresh.load_state({name: value.clone() for name, value in cut.state().items()})
    go(fresh, range(3, 6))
    one, two = whole.state(), fresh.state()
    assert one.keys() == two.keys()
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    return one, whole


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_a_pair_comes_back_bit_for_bit(labels, training, batch):
    _, pair = comes_back(training, batch, labels=labels)
    assert float(pair.baseline) != 0 or labels == "soft"
