"""Distillation losses against their formulas, written with loops over images, and their
identities."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from learners import TRAINING, FewImages, copied, equal_states, network, part, setting
from scipy.special import log_softmax, rel_entr, softmax

from pipeline.core.errors import UserError
from pipeline.data.kinds import CLASSIFICATION
from pipeline.methods.distillation import (
    DISTILLATION,
    attention,
    decoupled,
    hints,
    kd,
    logits,
    relational,
    similarity,
)
from pipeline.methods.distillation.taught import OfLayers, Taught
from pipeline.networks import NETWORKS
from pipeline.networks.classifier import Classifier, Output
from pipeline.networks.ensemble import Ensemble
from pipeline.training.learner import Learner
from pipeline.training.method import Setting
from pipeline.training.teaching import Teaching

# for pixels see tests/methods/test_structured.py
OF_IMAGES = {name: kind for name, kind in DISTILLATION.items() if CLASSIFICATION in kind.kinds}
EVERY = pytest.mark.parametrize("name", OF_IMAGES)
EVERY_OF_LAYERS = pytest.mark.parametrize(
    "name", [name for name, kind in OF_IMAGES.items() if issubclass(kind, OfLayers)]
)
CALM = TRAINING.model_copy(update={"ema": 0.0, "dropout": 0.0})


def made(name: str, **options) -> Taught:
    return DISTILLATION[name](DISTILLATION[name].Options(**options))


def taught(student: Classifier, teacher: Classifier, *methods: Taught) -> Setting:
    """A setting in which the methods have begun."""
    images = FewImages()
    images.dataset.image_shape = (1, 8, 8)
    given = setting(student, training=TRAINING, images=images)
    given = replace(
        given, teaching=Teaching(teacher), methods={method.name: method for method in methods}
    )
    for method in methods:
        method.start(given)
    return given


def other(seed: int = 1, width: float = 0.125) -> Classifier:
    """A teacher: other weights, perhaps another width."""
    torch.manual_seed(seed)
    return Classifier(NETWORKS["small_cnn"].build(1, width, 0.0), {"base": 3}, [0.5], [0.3])


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def loss_of(method: Taught, mine: torch.Tensor, theirs: torch.Tensor, **parts) -> torch.Tensor:
    """Of logits (N, C) that are made up."""
    batch = parts or {"unlabelled": part(len(mine))._replace(targets=None)}
    return method.loss(batch, Output(mine, mine), Output(theirs, theirs))


# --- each formula -----------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_distillation_is_the_weighted_divergence_of_softened_answers(temperature):
    method = made("kd", alpha=0.7, temperature=temperature)
    taught(network(), other(), method)
    mine, theirs = random(5, 4), random(5, 4, seed=1)
    wanted = [
        rel_entr(softmax(t / temperature), softmax(m / temperature)).sum()
        for m, t in zip(mine.numpy(), theirs.numpy())
    ]
    wanted = 0.7 * temperature**2 * np.mean(wanted)
    assert float(loss_of(method, mine, theirs)) == pytest.approx(wanted, rel=1e-12)
    assert method.ce_weight == pytest.approx(0.3)


def test_distillation_at_temperature_1_from_a_sure_teacher_is_the_cross_entropy():
    method = made("kd", alpha=1.0, temperature=1.0)
    taught(network(), other(), method)
    mine, label = random(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    sure = torch.full((6, 4), -1e4, dtype=torch.float64).scatter(1, label[:, None], 1e4)
    wanted = torch.nn.functional.cross_entropy(mine, label)
    assert float(loss_of(method, mine, sure)) == pytest.approx(float(wanted), rel=1e-12)


def test_distillation_at_a_high_temperature_is_half_the_mean_square_of_centred_logits():
    method = made("kd", alpha=1.0, temperature=1000.0)
    taught(network(), other(), method)
    mine, theirs = random(5, 4), random(5, 4, seed=1)
    apart = mine - mine.mean(1, keepdim=True) - theirs + theirs.mean(1, keepdim=True)
    wanted = float(apart.square().mean() / 2)
    assert float(loss_of(method, mine, theirs)) == pytest.approx(wanted, rel=1e-2)


def test_the_teachers_term_falls_to_its_end():
    method = made("kd", alpha=0.5, temperature=2.0, end=0.25)
    taught(network(), other(), method)
    mine, theirs = random(5, 4), random(5, 4, seed=1)
    first = loss_of(method, mine, theirs)
    method.step = TRAINING.steps - 1
    assert float(loss_of(method, mine, theirs) / first) == pytest.approx(0.25)
    assert not method.capturable and made("kd").capturable


def test_logits_are_matched_as_they_are():
    method = made("logits", weight=3.0)
    taught(network(), other(), method)
    mine, theirs = random(5, 4), random(5, 4, seed=1)
    wanted = 3.0 * np.mean((mine.numpy() - theirs.numpy()) ** 2) / 2
    assert float(loss_of(method, mine, theirs)) == pytest.approx(wanted, rel=1e-12)
    shifted = float(loss_of(method, theirs + 1, theirs))
    assert shifted == pytest.approx(1.5), "the level of the logits counts"


def by_hand(mine: np.ndarray, theirs: np.ndarray, label: int) -> tuple[float, float]:
    """TCKD and NCKD of one image, from its probabilities."""
    p, q = softmax(theirs), softmax(mine)
    two = rel_entr([p[label], 1 - p[label]], [q[label], 1 - q[label]]).sum()
    rest = [c for c in range(len(p)) if c != label]
    p, q = p[rest] / p[rest].sum(), q[rest] / q[rest].sum()
    return two, rel_entr(p, q).sum()


def test_decoupled_distillation_weighs_the_label_and_the_others():
    temperature = 2.0
    method = made("decoupled", alpha=0.5, beta=3.0, temperature=temperature)
    taught(network(), other(), method)
    mine, theirs = random(5, 3), random(5, 3, seed=1)
    batch = {"labelled": part(2), "unlabelled": part(3)._replace(targets=None)}
    given = batch["labelled"].targets.argmax(1).tolist()
    labels = given + theirs[2:].argmax(1).tolist()
    pairs = [
        by_hand(m / temperature, t / temperature, label)
        for m, t, label in zip(mine.numpy(), theirs.numpy(), labels)
    ]
    wanted = temperature**2 * np.mean([0.5 * two + 3.0 * rest for two, rest in pairs])
    assert float(loss_of(method, mine, theirs, **batch)) == pytest.approx(wanted, rel=1e-10)
    assert labels != mine.argmax(1).tolist() and labels != theirs.argmax(1).tolist()


def test_decoupled_with_the_weights_that_couple_it_is_distillation():
    mine, theirs = (torch.log_softmax(random(6, 5, seed=seed), 1) for seed in (0, 1))
    label = torch.tensor([0, 1, 2, 3, 4, 0])
    of_label, of_others = decoupled.decoupled(mine, theirs, label)
    rest = 1 - theirs.exp()[range(6), label]
    torch.testing.assert_close(of_label + rest * of_others, kd.divergence(mine, theirs))


def test_the_decoupled_loss_rises():
    method = made("decoupled", ramp_steps=4)
    taught(network(), other(), method)
    mine, theirs = random(5, 3), random(5, 3, seed=1)
    shares = []
    for method.step in (0, 1, 3, 9):
        shares.append(float(loss_of(method, mine, theirs)))
    assert [share / shares[-1] for share in shares] == pytest.approx([0.25, 0.5, 1.0, 1.0])


def test_likenesses_are_compared_row_by_row():
    maps, theirs = random(5, 2, 3, 3), random(5, 4, 2, 2, seed=1)

    def likeness(values: np.ndarray) -> np.ndarray:
        rows = values.reshape(5, -1)
        inner = np.array([[a @ b for b in rows] for a in rows])
        return np.array([row / np.linalg.norm(row) for row in inner])

    apart = likeness(maps.numpy()) - likeness(theirs.numpy())
    wanted = np.linalg.norm(apart, "fro") ** 2 / 5**2
    assert float(similarity.distance(maps, theirs)) == pytest.approx(wanted, rel=1e-12)


def test_attention_is_the_length_of_the_difference_of_maps_of_length_1():
    maps, theirs = random(3, 2, 4, 4), random(3, 5, 2, 2, seed=1)

    def seen(values: np.ndarray) -> np.ndarray:
        total = sum(channel**2 for channel in values)
        if total.shape == (4, 4):
            total = np.array([[total[y : y + 2, x : x + 2].mean() for x in (0, 2)] for y in (0, 2)])
        return total.ravel() / np.linalg.norm(total)

    wanted = [np.linalg.norm(seen(a) - seen(b)) for a, b in zip(maps.numpy(), theirs.numpy())]
    assert attention.distance(maps, theirs).tolist() == pytest.approx(wanted, rel=1e-12)
    assert attention.distance(theirs, maps).tolist() == pytest.approx(wanted, rel=1e-12)


def test_relations_are_those_of_all_pairs_and_triples():
    features, theirs = random(5, 3), random(5, 6, seed=1)

    def huber(a: float, b: float) -> float:
        return (a - b) ** 2 / 2 if abs(a - b) < 1 else abs(a - b) - 0.5

    def pairs(rows: np.ndarray) -> list[float]:
        lengths = [np.linalg.norm(a - b) for a, b in itertools.permutations(rows, 2)]
        return [length / np.mean(lengths) for length in lengths]

    def triples(rows: np.ndarray) -> list[float]:
        cosines = []
        for i, j, k in itertools.permutations(range(5), 3):
            one, two = rows[i] - rows[j], rows[k] - rows[j]
            cosines.append(one @ two / np.linalg.norm(one) / np.linalg.norm(two))
        return cosines

    mine, others = features.numpy(), theirs.numpy()
    of_pairs = np.mean([huber(*two) for two in zip(pairs(mine), pairs(others))])
    # in another order of triples, the same for both
    of_triples = np.mean([huber(*two) for two in zip(triples(mine), triples(others))])
    method = made("relational", distance=2.0, angle=3.0)
    taught(network(), other(), method)
    given = Output(features, features), Output(theirs, theirs)
    assert float(method.loss({}, *given)) == pytest.approx(2 * of_pairs + 3 * of_triples)
    for key, wanted in {"distance": of_pairs, "angle": of_triples}.items():
        method = made("relational", **{"distance": 0.0, "angle": 0.0, key: 1.0})
        taught(network(), other(), method)
        assert float(method.loss({}, *given)) == pytest.approx(wanted)


def test_angles_of_a_large_batch_are_those_of_its_first_images():
    features, theirs = random(relational.MOST + 9, 3), random(relational.MOST + 9, 4, seed=1)
    method = made("relational", distance=0.0)
    taught(network(), other(), method)
    first = [Output(f[: relational.MOST], f[: relational.MOST]) for f in (features, theirs)]
    whole = [Output(f, f) for f in (features, theirs)]
    assert method.loss({}, *whole) == method.loss({}, *first)


def test_hints_are_predicted_by_a_regressor_that_learns():
    student, teacher = network(), other(width=0.25)
    method = made("hints", weight=4.0)
    given = taught(student, teacher, method)
    [[mine, theirs]] = method.sizes
    assert mine[0] != theirs[0], "another number of channels"
    learner = Learner(student, CALM, methods={"hints": method})
    batch = {"labelled": part(6)}
    before = [weight.clone() for weight in method.module.parameters()]
    output, losses = learner.losses(batch)
    [regressor] = method.module
    [(ours, hint)] = method.maps(output, given.teaching(batch))
    wanted = 0.0
    for own, target in zip(ours.detach(), hint):
        kernel, bias = (w.detach().double() for w in regressor.convolution.parameters())
        predicted = np.einsum("oi,ihw->ohw", kernel[:, :, 0, 0], own.double()) + np.array(
            bias[:, None, None]
        )
        wanted += 4.0 / 2 * np.mean((predicted - target.double().numpy()) ** 2) / len(ours)
    assert float(losses["hints"].detach()) == pytest.approx(wanted, rel=1e-5)
    learner.step(batch)
    after = list(method.module.parameters())
    assert not any(torch.equal(*two) for two in zip(before, after))


@pytest.mark.parametrize(("given", "wanted"), [((2, 4, 4), (3, 2, 2)), ((2, 2, 2), (3, 4, 4))])
def test_a_regressor_brings_maps_to_the_teachers_size(given, wanted):
    regressor = hints.Regressor(given, wanted)
    assert regressor(torch.zeros(5, *given)).shape == (5, *wanted)


# --- what all must keep -----------------------------------------------------------------------


@EVERY
def test_a_loss_is_least_where_the_student_answers_as_the_teacher(name):
    """Zero there, with a gradient of zero, and no number anywhere; of hints, where the regressor
    says the hint."""
    student = network()
    method = made(name)
    teacher = copied(student)
    given = taught(student, teacher, method)
    if name == "hints":
        for regressor in method.module:
            torch.nn.init.dirac_(regressor.convolution.weight)
            torch.nn.init.zeros_(regressor.convolution.bias)
    student.eval()
    learner = Learner(student, CALM, methods={name: method})
    batch = {"labelled": part(6)}
    images = batch["labelled"].images
    output = student(images)._replace(maps=learner.maps.take())
    loss = method.loss(batch, output, given.teaching(batch))
    assert abs(float(loss.detach())) < 1e-4
    loss.backward()
    grads = [weight.grad for weight in student.parameters() if weight.grad is not None]
    assert grads and all(float(grad.abs().max()) < 1e-3 for grad in grads)
    with torch.no_grad():
        for weight in student.parameters():
            weight.add_(0.5 * torch.randn_like(weight))
    output = student(images)._replace(maps=learner.maps.take())
    assert float(method.loss(batch, output, given.teaching(batch)).detach()) > 1e-3


@EVERY
def test_nothing_reaches_the_teacher(name):
    """Neither a gradient nor a step nor a statistic."""
    student, teacher = network(dropout=0.5), other()
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    method = made(name)
    taught(student, teacher, method)
    learner = Learner(student, CALM, methods={name: method})
    start = {key: value.clone() for key, value in student.state_dict().items()}
    for step in range(3):
        losses = learner.step({"labelled": part(6, step)})
    assert float(losses[name]) > 0 and not equal_states(start, student.state_dict())
    assert equal_states(before, teacher.state_dict()) and not teacher.training
    assert all(weight.grad is None for weight in teacher.parameters())


@EVERY
def test_classes_may_stand_in_another_order(name):
    """Both networks' heads permuted, the loss stays."""
    order = torch.tensor([2, 0, 1])

    def permuted(net: Classifier) -> Classifier:
        made = copied(net)
        head = made.head("base")
        head.weight.data, head.bias.data = head.weight.data[order], head.bias.data[order]
        return made

    def loss(student: Classifier, teacher: Classifier, targets) -> float:
        method = made(name)
        torch.manual_seed(3)  # a regressor's weights
        given = taught(student, teacher, method)
        learner = Learner(student, CALM, methods={name: method})
        batch = {"labelled": part(6)._replace(targets=targets)}
        output = student.eval()(batch["labelled"].images)._replace(maps=learner.maps.take())
        return float(method.loss(batch, output, given.teaching(batch)))

    student, teacher, targets = network(), other(), part(6).targets
    wanted = loss(copied(student), copied(teacher), targets)
    assert loss(permuted(student), permuted(teacher), targets[:, order]) == pytest.approx(
        wanted, rel=1e-3
    )


def differentiable() -> dict:
    """By name, a loss of float64 inputs, and those."""
    theirs, label = random(4, 3, seed=9), torch.tensor([0, 1, 2, 0])
    log_probs = torch.log_softmax(theirs, 1)
    of_maps = random(4, 3, 2, 2, seed=8)
    return {
        "kd": (lambda x: kd.divergence(torch.log_softmax(x / 3, 1), log_probs), random(4, 3)),
        "logits": (lambda x: logits.distance(x, theirs), random(4, 3)),
        "decoupled": (
            lambda x: torch.stack(decoupled.decoupled(torch.log_softmax(x, 1), log_probs, label)),
            random(4, 3),
        ),
        "similarity": (lambda x: similarity.distance(x, of_maps), random(4, 2, 3, 3)),
        "attention": (lambda x: attention.distance(x, of_maps), random(4, 2, 4, 4)),
        "distances": (relational.distances, random(4, 3)),
        "angles": (relational.angles, random(4, 3)),
        "hints": (hints.Regressor((2, 4, 4), (3, 2, 2)).double(), random(4, 2, 4, 4)),
    }


@pytest.mark.parametrize("name", differentiable())
def test_gradients_are_those_of_the_values(name):
    function, given = differentiable()[name]
    assert torch.autograd.gradcheck(function, given.requires_grad_(True))


def test_a_length_of_nothing_has_no_gradient():
    rows = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    attention.Length.apply(rows).sum().backward()
    assert rows.grad.tolist() == [[0.0] * 3] * 2


@EVERY_OF_LAYERS
def test_layers_may_be_named_and_must_be_there(name):
    student, teacher = network(), other(width=0.25)
    layers = {"teacher_layers": ["backbone.layers.0"], "student_layers": ["backbone.layers.3"]}
    names = [module for module, _ in student.named_modules()]
    assert {"backbone.layers.0", "backbone.layers.3"} <= set(names)
    method = made(name, **layers)
    given = taught(student, teacher, method)
    learner = Learner(student, CALM, methods={name: method})
    assert float(learner.step({"labelled": part(6)})[name]) > 0
    assert method.pairs == [("backbone.layers.3", "backbone.layers.0")]
    for key, whose in (("teacher_layers", "teacher"), ("student_layers", "student")):
        with pytest.raises(UserError) as error:
            made(name, **layers | {key: ["backbone.layer"]}).start(given)
        line = str(error.value)
        assert (
            f".methods.{name}.{whose}_layers: " in line and "'backbone.layer' is not there" in line
        )
        assert "backbone.layers.0" in line.split("fix: use one of: ")[1]
    with pytest.raises(UserError, match="gives no map of places"):
        made(name, **layers | {"student_layers": ["backbone"]}).start(given)


@EVERY_OF_LAYERS
def test_every_layer_of_a_student_has_a_partner(name):
    options = DISTILLATION[name].Options(teacher_layers=["a", "b"], student_layers=["a"])
    assert [fault.key for fault in options.faults()] == ["student_layers"]


def test_log_probs_are_of_the_logits_at_a_temperature():
    net = network()
    output = net.eval()(part(4).images)
    wanted = log_softmax(output.logits.detach().double().numpy() / 3, axis=1)
    np.testing.assert_allclose(net.log_probs(output, 3.0).detach(), wanted, rtol=1e-5)
    assert math.isclose(float(net.log_probs(output).exp().sum()), 4, rel_tol=1e-5)


# --- transforms -------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_an_answer_under_transforms_is_the_mean_of_softened_probabilities(plain, temperature):
    teacher, images = other(), part(5).images
    moved = [lambda x: x.flip(-1), lambda x: x.roll(1, 2)]
    teaching = Teaching(teacher, moved, plain)
    answer = teaching({"labelled": part(5)})
    seen = [images] * plain + [move(images) for move in moved]
    with torch.no_grad():
        wanted = torch.stack([(teacher(x).logits / temperature).softmax(1) for x in seen]).mean(0)
    torch.testing.assert_close(teaching.log_probs(answer, temperature).exp(), wanted)
    torch.testing.assert_close(answer.features, teacher.features(images))
    if temperature == 1:
        torch.testing.assert_close(answer.logits.softmax(1), wanted)
    assert teaching.passes == 3


def test_layers_under_transforms_are_of_the_view_as_it_is():
    teacher, layer = other(), "backbone.layers.0"
    plain, moved = Teaching(teacher), Teaching(teacher, [lambda x: x.flip(-1)])
    for teaching in (plain, moved):
        teaching.want([layer])
    one, two = (teaching({"labelled": part(5)}) for teaching in (plain, moved))
    torch.testing.assert_close(one.maps[layer], two.maps[layer])


def test_an_ensemble_answers_under_transforms_as_the_mean_of_all():
    members = [other(1), other(2)]
    ensemble = Ensemble(members, [1.0, 1.0], "arithmetic")
    teaching = Teaching(ensemble, [lambda x: x.flip(-1)])
    answer, images = teaching({"labelled": part(4)}), part(4).images
    with torch.no_grad():
        said = [(m(x).logits / 2).softmax(1) for m in members for x in (images, images.flip(-1))]
    torch.testing.assert_close(teaching.log_probs(answer, 2.0).exp(), torch.stack(said).mean(0))
