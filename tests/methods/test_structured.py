"""Distillation of dense answers: structured losses against loops, the critic's part, and what all
losses of pixels must keep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from learners import TRAINING, FewImages, copied, equal_states, part, setting
from scipy.special import rel_entr, softmax

from pipeline.data.batches import Part
from pipeline.data.kinds import SEGMENTATION
from pipeline.methods.distillation import DISTILLATION, structured
from pipeline.methods.distillation.taught import Taught
from pipeline.networks import NETWORKS
from pipeline.networks.classifier import Output
from pipeline.networks.ensemble import Ensemble
from pipeline.networks.segmenter import Segmenter
from pipeline.training.learner import Learner
from pipeline.training.method import Setting
from pipeline.training.teaching import Teaching

SHAPE = (1, 8, 8)
OF_PIXELS = [name for name, kind in DISTILLATION.items() if SEGMENTATION in kind.kinds]
EVERY = pytest.mark.parametrize("name", OF_PIXELS)
CALM = TRAINING.model_copy(update={"ema": 0.0, "dropout": 0.0})


def made(name: str = "structured", **options) -> Taught:
    return DISTILLATION[name](DISTILLATION[name].Options(**options))


def network(seed: int = 0, width: float = 0.125) -> Segmenter:
    torch.manual_seed(seed)
    backbone = NETWORKS["small_cnn"].build(1, width, 0.0)
    return Segmenter(backbone, {"base": 3}, [0.5], [0.3], shape=SHAPE)


def taught(student: Segmenter, teacher, *methods: Taught) -> Setting:
    """A setting in which the methods have begun."""
    images = FewImages()
    images.dataset.image_shape = SHAPE
    given = setting(student, training=TRAINING, images=images)
    by_name = {method.name: method for method in methods}
    given = replace(given, teaching=Teaching(teacher), methods=by_name)
    torch.manual_seed(0)
    for method in methods:
        method.start(given)
    return given


def dense_part(num: int = 6, seed: int = 0) -> Part:
    """Random images 8x8, a random class for each pixel."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, 3, (num, 8, 8), generator=generator)
    return part(num, seed)._replace(targets=torch.eye(3)[label].movedim(-1, 1))


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- the formula ------------------------------------------------------------------------------


def test_pixels_are_the_mean_divergence_over_all_pixels():
    method = made(pixel=3.0, pair=0.0, holistic=0.0)
    taught(network(), network(1), method)
    mine, theirs = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1)
    wanted = np.mean(
        [
            rel_entr(softmax(theirs[n, :, i, j]), softmax(mine[n, :, i, j])).sum()
            for n, i, j in np.ndindex(2, 4, 5)
        ]
    )
    given = method.loss({}, Output(mine, mine), Output(theirs, theirs))
    assert float(given) == pytest.approx(3 * wanted, rel=1e-6)


def cosines(maps: np.ndarray, patch: int) -> np.ndarray:
    """Of all pairs of patches of (C, H, W), by loops."""
    _, height, width = maps.shape
    nodes = [
        maps[:, i : i + patch, j : j + patch].mean((1, 2))
        for i in range(0, height, patch)
        for j in range(0, width, patch)
    ]
    return np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in nodes] for a in nodes])


@pytest.mark.parametrize("patch", [1, 2])
def test_pairs_are_the_mean_squared_difference_of_cosines(patch):
    maps, theirs = random(3, 4, 4, 6), random(3, 2, 4, 6, seed=1)
    wanted = [
        np.square(cosines(m.numpy(), patch) - cosines(t.numpy(), patch)).mean()
        for m, t in zip(maps, theirs)
    ]
    assert float(structured.distance(maps, theirs, patch)) == pytest.approx(np.mean(wanted))


def test_maps_of_two_sizes_are_compared_at_the_smaller():
    maps, theirs = random(2, 3, 8, 8), random(2, 3, 4, 4, seed=1)
    small = torch.nn.functional.avg_pool2d(maps, 2)
    wanted = float(structured.distance(small, theirs, 1))
    assert float(structured.distance(maps, theirs, 1)) == pytest.approx(wanted)


def test_weights_weigh_their_parts():
    student, batch = network(), {"labelled": dense_part()}

    def loss(**options) -> float:
        method = made(**{"pixel": 0.0, "pair": 0.0, "holistic": 0.0} | options)
        given = taught(student, network(1), method)
        learner = Learner(student, CALM, methods={"structured": method})
        output = learner.forward([batch["labelled"].images])
        learner.maps.close()
        with torch.no_grad():
            return float(method.loss(batch, output, given.teaching(batch)))

    student.eval()
    pixel, pair = loss(pixel=1.0), loss(pair=1.0)
    assert pixel > 0 and pair > 0
    assert loss(pixel=2.0, pair=5.0) == pytest.approx(2 * pixel + 5 * pair, rel=1e-4)


def test_gradients_are_those_of_the_values():
    of_maps = random(2, 3, 4, 4, seed=5)
    given = random(2, 2, 4, 4).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: structured.distance(x, of_maps, 2), given)


# --- the critic -------------------------------------------------------------------------------


def test_the_critics_penalty_is_that_of_its_gradient_between_the_two():
    """Of a linear critic the gradient is its weights everywhere."""
    weights = torch.randn(3 * 4 * 4)

    def linear(images, probs):
        return probs.flatten(1) @ weights

    mine, theirs = torch.rand(5, 3, 4, 4), torch.rand(5, 3, 4, 4)
    apart, penalty = structured.critic_losses(linear, torch.zeros(5, 1, 4, 4), mine, theirs)
    wanted = (mine.flatten(1).mean(0) - theirs.flatten(1).mean(0)) @ weights
    torch.testing.assert_close(apart, wanted)
    torch.testing.assert_close(penalty, (weights.norm() - 1).square())


def test_a_critic_learns_to_tell_the_two_apart():
    torch.manual_seed(0)
    critic = structured.Critic(4)
    adam = torch.optim.Adam(critic.parameters(), 1e-3, structured.BETAS)
    images = torch.rand(16, 1, 8, 8)
    theirs = torch.eye(3)[torch.randint(0, 3, (16, 8, 8))].movedim(-1, 1)
    mine = torch.full_like(theirs, 1 / 3)
    for _ in range(40):
        apart, penalty = structured.critic_losses(critic, images, mine, theirs)
        adam.zero_grad()
        (apart + structured.PENALTY * penalty).backward()
        adam.step()
    assert float(apart) < -0.5 and critic(images, theirs).mean() > critic(images, mine).mean()


def step_of(method: Taught, teacher=None, steps: int = 1) -> tuple[Learner, dict]:
    student = network()
    taught(student, teacher or network(1), method)
    learner = Learner(student, CALM, methods={method.name: method})
    for step in range(steps):
        torch.manual_seed(step)
        losses = learner.step({"labelled": dense_part(seed=step)})
    return learner, losses


def test_the_students_loss_does_not_move_the_critic_and_its_own_does():
    before = {}

    class Noted(structured.StructuredDistillation):
        def after_step(self, *given):
            before["grads"] = [w.grad for w in self._critic.parameters()]
            before["weights"] = [w.clone() for w in self._critic.parameters()]
            super().after_step(*given)

    method = Noted(Noted.Options(holistic=50.0))
    step_of(method)
    assert before["grads"] == [None] * len(before["grads"])
    *after, _ = method._critic.parameters()  # the last is a constant, which no difference sees
    assert all(not torch.equal(a, b) for a, b in zip(before["weights"], after))


def test_the_critic_teaches_the_student_and_not_beyond_its_own_weights():
    with_critic, losses = step_of(made(holistic=50.0))
    without, others = step_of(made(holistic=0.0))
    assert "critic" in losses and "critic" not in others
    assert not equal_states(with_critic.network.state_dict(), without.network.state_dict())
    assert not any("critic" in name for name in with_critic.network.state_dict())


def test_the_penalty_is_descended_too(monkeypatch):
    one, _ = step_of(made())
    monkeypatch.setattr(structured, "PENALTY", 0.0)
    other, _ = step_of(made())
    states = [learner.methods["structured"].state for learner in (one, other)]
    assert not torch.equal(*(state["critic/layers.0.weight"] for state in states))


def test_a_student_goes_where_the_critic_likes_it():
    """One step with a fixed critic that likes class 2 everywhere raises p of class 2."""
    method = made(pixel=0.0, pair=0.0, holistic=100.0)
    student = network()
    taught(student, network(1), method)

    class LikesTwo(torch.nn.Module):
        def forward(self, images, probs):
            return probs[:, 2].mean((1, 2))

    method._critic = LikesTwo()
    method.after_step = lambda *given: None
    learner = Learner(student, CALM.model_copy(update={"warmup_steps": 0}), methods={"s": method})
    batch = {"unlabelled": dense_part()._replace(targets=None)}
    before = student(batch["unlabelled"].images).logits.softmax(1)[:, 2].mean()
    learner.step(batch)
    assert student(batch["unlabelled"].images).logits.softmax(1)[:, 2].mean() > before


def test_an_interrupted_critic_goes_on_as_it_was():
    whole, _ = step_of(made(), steps=4)
    first, _ = step_of(made(), steps=2)
    kept = {name: values.clone() for name, values in first.state().items()}
    assert any(name.startswith("method/structured/adam/") for name in kept)
    student, method = network(), made()
    taught(student, network(1), method)
    again = Learner(student, CALM, methods={"structured": method})
    again.load_state(kept)
    for step in (2, 3):
        torch.manual_seed(step)
        again.step({"labelled": dense_part(seed=step)})
    assert equal_states(again.state(), whole.state())


def test_without_its_weight_there_is_no_critic():
    method = made(holistic=0.0)
    taught(network(), network(1), method)
    assert method._critic is None and method.state == {} and method.capturable
    assert not made().capturable


# --- all losses of pixels ---------------------------------------------------------------------


@EVERY
def test_no_gradient_reaches_a_teacher_and_no_statistic_of_it_moves(name):
    teacher = network(1)
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    step_of(made(name), teacher, steps=2)
    assert equal_states(teacher.state_dict(), before)
    assert all(weight.grad is None for weight in teacher.parameters())


@EVERY
def test_a_teacher_changes_the_update(name):
    one, _ = step_of(made(name), network(1))
    another, _ = step_of(made(name), network(2))
    assert not equal_states(one.network.state_dict(), another.network.state_dict())


@EVERY
def test_a_student_like_its_teacher_has_nothing_to_learn(name):
    if name == "hints":
        pytest.skip("its regressor begins anywhere")
    teacher = network(1).eval()
    student = copied(teacher)
    options = {"holistic": 0.0} if name == "structured" else {}
    method = made(name, **options)
    given = taught(student, teacher, method)
    learner = Learner(student, CALM, methods={name: method})
    student.eval()
    batch = {"labelled": dense_part()}
    output = learner.forward([batch["labelled"].images])
    assert float(method.loss(batch, output, given.teaching(batch))) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
def test_several_segmenters_answer_together(mean):
    members = [network(seed).eval() for seed in (1, 2)]
    together = Ensemble(members, [3.0, 1.0], mean).eval()
    images = part(4).images
    with torch.no_grad():
        said = [member(images).logits.double() for member in members]
        output = together(images)
    if mean == "arithmetic":
        wanted = (0.75 * said[0].softmax(1) + 0.25 * said[1].softmax(1)).log()
    else:
        wanted = (0.75 * said[0] + 0.25 * said[1]).log_softmax(1)
    got = together.log_probs(output).double()
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    assert together.places((8, 8)) == (8, 8)
