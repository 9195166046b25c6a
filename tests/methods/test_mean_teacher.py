"""Mean Teacher: loss and gradient against the formula, the average, its noise and its weight."""

from __future__ import annotations

import copy
from math import exp

import pytest
import torch
from jobs import extension
from learners import TRAINING, FewImages, network, part, setting
from torch.nn import functional as F

from pipeline.methods.semi_supervised.mean_teacher import MeanTeacher
from pipeline.training.learner import Learner

CALM = TRAINING.model_copy(update={"ema": 0.0, "dropout": 0.0, "steps": 10})


def batch(seed: int = 0) -> dict:
    """Two views of 4 labelled and of 8 unlabelled images."""
    sizes = {"labelled": 4, "unlabelled": 8, "weak": 8, "labelled_weak": 4}
    parts = {name: part(num, 10 * seed + n) for n, (name, num) in enumerate(sizes.items())}
    return {n: p if n == "labelled" else p._replace(targets=None) for n, p in parts.items()}


def made(net, training=CALM, **options) -> tuple[MeanTeacher, Learner]:
    method = MeanTeacher(MeanTeacher.Options(**options))
    method.start(setting(net, training=training, images=FewImages()))
    return method, Learner(net, training, methods={"mean_teacher": method})


def test_the_loss_and_its_gradient_are_the_formula():
    """At the third step, where the average is not the network any more."""
    net = network()
    method, learner = made(net, weight=7.0, ramp=0.5, ema=0.8)
    average = copy.deepcopy(net)
    for step in range(2):
        learner.step(batch(step))
        decay = min(0.8, (2 + step) / (11 + step))
        with torch.no_grad():
            for mine, theirs in zip(average.state_dict().values(), net.state_dict().values()):
                if mine.is_floating_point():
                    mine.mul_(decay).add_(theirs, alpha=1 - decay)
    twin, parts = copy.deepcopy(net), batch(2)
    given = learner.step(parts)["mean_teacher"]

    twin.train(), average.train()
    joint = torch.cat([parts["labelled"].images, parts["unlabelled"].images])
    with torch.no_grad():
        views = torch.cat([parts["labelled_weak"].images, parts["weak"].images])
        wanted = average(views).logits.double().softmax(1)
    logits = twin(joint).logits
    ways = logits.double().softmax(1) - wanted
    loss = 7 * exp(-5 * (1 - 2 / 5) ** 2) * sum(way.square().sum() for way in ways) / 12
    (loss + F.cross_entropy(logits[:4], parts["labelled"].targets)).backward()
    torch.testing.assert_close(given.double(), loss.detach(), rtol=1e-5, atol=1e-7)
    for mine, theirs in zip(net.parameters(), twin.parameters()):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("step", [0, 3, 5, 9])
def test_the_weight_rises_to_its_full_value(step):
    method, _ = made(network(), ramp=0.5)
    method.step = step
    assert method.rise == pytest.approx(exp(-5 * max(0, 1 - step / 5) ** 2))
    method, _ = made(network(), ramp=0.0)
    method.step = step
    assert method.rise == 1


def test_the_decay_is_another_one_after_the_ramp():
    """Of so old an average that its youth does not hold the decay down."""
    for step, decay in ((499, 0.5), (500, 0.9)):
        net = network()
        recipe = CALM.model_copy(update={"steps": 1000})
        method, learner = made(net, recipe, ramp=0.5, ema=0.5, ema_after=0.9)
        learner.step(batch())
        name, weight = next(iter(net.named_parameters()))
        method.state[name].copy_(weight.data)
        weight.data += 1
        before, method.step = method.state[name].clone(), step
        method.after_step(net, {}, None)
        torch.testing.assert_close(method.state[name], before + (1 - decay), rtol=1e-5, atol=1e-6)


def test_the_average_has_noise_but_leaves_no_trace_in_the_network():
    net = network(dropout=0.5)
    method, learner = made(net)
    net.train()
    learner.losses(method.batch(batch()))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    kept = {k: v.clone() for k, v in method.state.items()}
    images = batch()["weak"].images
    one, two = method._answers(net, images), method._answers(net, images)
    assert not torch.equal(one, two) and not one.requires_grad
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(torch.equal(v, kept[k]) for k, v in method.state.items())
    assert all(module.training for module in net.modules())


def test_the_average_begins_at_the_network_of_the_first_step():
    """Not at that of `start`: a new head is trained alone between the two."""
    net = network()
    method, learner = made(net)
    with torch.no_grad():
        net.newest_head.weight.fill_(3)
    learner.losses(method.batch(batch()))
    [head] = [value for name, value in method.state.items() if name.endswith("base.weight")]
    assert torch.equal(head, torch.full_like(head, 3)) and head is not net.newest_head.weight


def test_the_views_are_of_the_images_of_the_batch_held_out_ones_among_none(chain):
    """As the streams of the labelled images are drawn."""
    from pipeline.data.batches import Batches

    images = extension().images
    where = setting(network(), images=images)
    held_out = torch.tensor([0, 2]).numpy()
    where = type(where)(**(vars(where) | {"held_out": held_out}))
    streams = MeanTeacher(MeanTeacher.Options()).streams(where)
    targets = torch.eye(3)[torch.arange(len(images.labels())) % 3]
    streams["labelled"] = images.labelled(targets, held_out=held_out)
    batches = Batches(streams, seed=0, model="m")
    for step in range(5):
        parts = batches(step)
        for name, weak in (("labelled", "labelled_weak"), ("unlabelled", "weak")):
            assert torch.equal(parts[name].rows, parts[weak].rows)
            assert not torch.equal(parts[name].images, parts[weak].images)
    assert {type(streams[name].view).__name__ for name in ("weak", "labelled_weak")} == {"WeakView"}
    assert 0 not in streams["labelled"].index and 2 not in streams["labelled_weak"].index
