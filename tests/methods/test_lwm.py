"""Learning without Memorizing: the attention loss against brute force, and its gradient."""

import copy

import pytest
import torch
from conftest import read_curves
from jobs import learn_tasks, with_tasks
from learners import TRAINING, FewImages, copied, equal_states, network, part, setting

from pipeline.core.errors import UserError
from pipeline.core.machine import Machine
from pipeline.methods.continual.lwm import LearningWithoutMemorizing, attention
from pipeline.networks import NETWORKS
from pipeline.networks.classifier import Classifier
from pipeline.params.check import load
from pipeline.training.learner import Learner

CALM = TRAINING.model_copy(update={"ema": 0.0, "dropout": 0.0})
NETS = ["small_cnn", "resnet_9", "wrn_28_2", "torchvision/mobilenet_v3_small"]


def lwm(**options) -> LearningWithoutMemorizing:
    return LearningWithoutMemorizing(LearningWithoutMemorizing.Options(**options))


def test_a_map_is_grad_cam_by_hand():
    """A head on the mean over places: a_k is its weight over the number of places."""
    torch.manual_seed(0)
    maps = torch.randn(3, 4, 2, 5, dtype=torch.float64, requires_grad=True)
    head = torch.randn(6, 4, dtype=torch.float64)
    classes = torch.tensor([5, 0, 2])
    results = attention(maps.mean((2, 3)) @ head.T, maps, classes)
    for n, one in enumerate(classes):
        seen = sum(head[one, k] / 10 * maps[n, k].detach() for k in range(4)).clamp(min=0).flatten()
        torch.testing.assert_close(results[n], seen / seen.norm())


def test_a_map_of_nothing_counts_zero():
    """No division by zero, there and in its gradient."""
    maps = torch.ones(2, 1, 2, 2, requires_grad=True)
    head = torch.tensor([-1.0, 1.0], requires_grad=True)
    logits = maps.mean((2, 3)) * head
    results = attention(logits, maps, torch.tensor([0, 1]), create_graph=True)
    assert results.tolist() == [[0.0] * 4, [0.5] * 4]
    grads = torch.autograd.grad(results.square().sum(), [maps, head])
    assert all(grad.isfinite().all() for grad in grads)


def begun(name: str, blocks=((0, 2), (2, 4)), **options):
    """A network and the method that looks at it, a little away from the old model."""
    torch.manual_seed(0)
    thin = 1.0 if "/" in name else 0.0625
    made = Classifier(
        NETWORKS[name].build(1, thin, 0.0), {"base": 2, "t1": 2, "t": 2}, [0.5], [0.3]
    ).double()
    size = 64 if "/" in name else 16
    made.eval()  # BatchNorm as a constant, for differences of single weights
    method, images = lwm(**options), FewImages()
    images.dataset.image_shape = (1, size, size)
    old = [slice(*block) for block in blocks]
    method.start(setting(made, old, slice(4, 6), {"base": copied(made)}, CALM, images))
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.3 * torch.randn_like(weight) * weight.std() if weight.ndim > 1 else 0)
    batch = {"labelled": part(5)._replace(images=torch.rand(5, 1, size, size).double())}
    return made, method, batch, Learner(made, CALM, methods={"lwm": method})


def loss(made, method, batch, learner):
    output = made(batch["labelled"].images)
    return method.losses(made, batch, output._replace(maps=learner.maps.take()))["lwm"]


@pytest.mark.parametrize("name", NETS)
def test_the_gradient_is_that_of_finite_differences(name):
    """And not that of a public version, whose map of the network in training is cut from it."""
    made, method, batch, learner = begun(name, weight=2.0)
    value = loss(made, method, batch, learner)
    heads = "heads.task_base.weight", "heads.task_t1.weight"  # in a map by its slopes alone
    weights = {n: w for n, w in made.named_parameters() if w.ndim == 4 or n in heads}
    grads = dict(zip(weights, torch.autograd.grad(value, list(weights.values()))))
    convolutions = [name for name in weights if name not in heads]
    for group in (convolutions, heads):
        one = max(group, key=lambda name: grads[name].abs().max())
        place = int(grads[one].abs().argmax())
        slope = difference(weights[one], place, lambda: loss(made, method, batch, learner))
        assert slope.abs() > 1e-6
        torch.testing.assert_close(grads[one].flatten()[place], slope, rtol=1e-3, atol=1e-7)
    assert value > 0
    mistaken = _cut(made, method, batch, learner)
    assert not mistaken.requires_grad  # the same value, and nothing to learn from
    torch.testing.assert_close(mistaken, value.detach())


def difference(weight, place, value, step=1e-6):
    """The slope of a value along one number of a weight."""
    values = []
    for sign in (1, -2):
        with torch.no_grad():
            weight.view(-1)[place] += sign * step
        values.append(value().detach())
    with torch.no_grad():
        weight.view(-1)[place] += step
    return (values[0] - values[1]) / (2 * step)


def _cut(made, method, batch, learner):
    """The loss with both maps made as the old model's is."""
    output = made(batch["labelled"].images)
    [maps] = learner.maps.take().values()
    first = output.logits[:, :4].argmax(1)
    mine = attention(output.logits[:, :4], maps, first).detach()
    old = method._old(batch["labelled"].images.requires_grad_()).logits
    [maps] = method._maps.take().values()
    return 2.0 * (mine - attention(old, maps, first)).abs().sum(1).mean().detach()


def test_both_maps_are_of_the_old_class_that_the_network_ranks_first():
    made, method, batch, learner = begun("small_cnn", [(0, 4)])
    with torch.no_grad():  # the two disagree, and new classes come before all
        made.head("base").bias += torch.tensor([9.0, 0.0])
        made.head("t").bias += 99
        method._old.head("t1").bias += torch.tensor([0.0, 9.0])
    results = loss(made, method, batch, learner)
    images = batch["labelled"].images.clone().requires_grad_()

    def of(net, recorder, one):
        logits = net(images).logits
        [maps] = recorder.take().values()
        return attention(logits, maps, torch.full((5,), one))

    def wanted(mine, theirs):
        ours = of(made, learner.maps, mine)
        return (ours - of(method._old, method._maps, theirs)).abs().sum(1).mean().detach()

    torch.testing.assert_close(results.detach(), wanted(0, 0))
    for mistaken in (wanted(0, 3), wanted(3, 3)):
        assert not torch.allclose(results.detach(), mistaken)


def test_the_old_model_never_changes_and_takes_no_gradient():
    made = network(heads={"base": 3, "t": 2})
    method = lwm()
    given = {"base": copied(made)}
    method.start(setting(made, [slice(0, 3)], slice(3, 5), given, CALM, FewImages()))
    before = copy.deepcopy(method._old.state_dict())
    learner = Learner(made, CALM, methods={"lwm": method})
    for step in range(3):
        learner.step({"labelled": part(6, step, classes=2, columns=slice(3, 5))})
    assert equal_states(before, method._old.state_dict()) and not method._old.training
    assert all(weight.grad is None for weight in method._old.parameters())


def test_in_a_task_next_to_lwf(chain):
    methods = {"lwf": {"warmup_steps": 2}, "lwm": {}}
    with_tasks(chain, t1={"methods": methods})
    learn_tasks("t1")
    row = read_curves(chain / "models/t1/curves.csv")[-1]
    assert float(row["lwf"]) > 0 and float(row["lwm"]) > 0


def test_without_lwf_it_is_one_line(chain):
    with_tasks(chain, t1={"methods": {"lwm": {}}})
    with pytest.raises(UserError, match="lwm stands on lwf, which is not on; fix: add lwf"):
        load()


@pytest.mark.parametrize(
    ("training", "machine", "words"),
    [
        ({"batch_norm": "separate"}, {}, "set it to joint"),
        ({}, {"compile": True}, "set it to false"),
    ],
)
def test_maps_without_a_gradient_of_a_gradient_are_refused(training, machine, words):
    made, images = network(heads={"base": 3, "t": 2}), FewImages()
    images.machine = Machine(**machine)
    recipe = CALM.model_copy(update=training)
    given = setting(made, [slice(0, 3)], slice(3, 5), {"base": copied(made)}, recipe, images)
    with pytest.raises(UserError, match=words):
        lwm().start(given)
