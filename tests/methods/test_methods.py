"""Methods: what every one must keep, and LwF against its formula."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pipeline.data.batches import Part
from pipeline.methods import METHODS
from pipeline.methods.continual.lwf import LearningWithoutForgetting, distillation
from pipeline.networks.classifier import Classifier
from pipeline.networks.small_cnn import SmallCNN
from pipeline.params import UDA, FixMatch, LwF, OnlinePseudoLabel
from pipeline.params.check import load
from pipeline.training.learner import Learner
from pipeline.training.method import Blocks

OPTIONS = {
    "lwf": LwF(weight=1.0, temperature=2.0, warmup_steps=0),
    "pseudo_label": OnlinePseudoLabel(weight=1.0, threshold=0.0, start_step=0, ramp_steps=0),
    "uda": UDA(weight=1.0, threshold=0.0, temperature=0.4, ramp_steps=0),
    "fixmatch": FixMatch(weight=1.0, threshold=0.0),
}
CONTINUAL = [name for name, method in METHODS.items() if not method.streams]
SEMI_SUPERVISED = [name for name, method in METHODS.items() if method.streams]


def classifier(heads: dict[str, int]) -> Classifier:
    torch.manual_seed(0)
    return Classifier(SmallCNN(1, 0.25), heads, [0.3], [0.4])


def parts(num: int = 6, classes: int = 2) -> dict[str, Part]:
    images = torch.randint(0, 256, (num, 1, 8, 8), dtype=torch.uint8)
    return {"labelled": Part(images, torch.eye(classes)[torch.arange(num) % classes], None, None)}


@pytest.fixture
def training(tiny):
    return tiny.training.model_copy(update={"ema": 0.0, "dropout": 0.0})


def test_options_are_named_as_methods_are():
    assert set(OPTIONS) == set(METHODS)


@pytest.mark.parametrize("name", CONTINUAL)
def test_with_no_earlier_task_training_is_bit_identical(name, training):
    plain, added = classifier({"base": 2}), classifier({"base": 2})
    method = METHODS[name](OPTIONS[name])
    method.before_task(added, Blocks([], slice(0, 2), slice(0, 2)))
    one, two = Learner(plain, training), Learner(added, training, methods=[method])
    for _ in range(3):
        batch = parts()
        one.step(batch)
        two.step(batch)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), added.parameters()))


@pytest.mark.parametrize("name", CONTINUAL)
def test_an_old_task_changes_the_update(name, training):
    plain, added = classifier({"base": 3, "t": 2}), classifier({"base": 3, "t": 2})
    method = METHODS[name](OPTIONS[name])
    method.before_task(added, Blocks([slice(0, 3)], slice(3, 5), slice(3, 5)))
    options = {"columns": slice(3, 5)}
    one = Learner(plain, training, **options)
    two = Learner(added, training, methods=[method], **options)
    for _ in range(3):
        batch = parts()
        one.step(batch)
        losses = two.step(batch)
    assert set(losses) == {"loss", "labelled", name}
    assert not all(torch.equal(a, b) for a, b in zip(plain.parameters(), added.parameters()))


@pytest.mark.parametrize("name", METHODS)
def test_options_may_not_be_left_out(name, tiny):
    assert name in type(next(iter(tiny.tasks.values()))).model_fields


def test_distillation_is_the_divergence_of_the_softened_answers():
    new, old = torch.randn(5, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    p = torch.softmax(old / 2, 1)
    wanted = (p * (p.log() - torch.log_softmax(new / 2, 1))).sum(1)
    torch.testing.assert_close(distillation(new, old, 2.0).double(), wanted, rtol=1e-5, atol=1e-6)


def test_distillation_is_least_at_the_old_answer():
    old = torch.randn(5, 4)
    new = old.clone().requires_grad_(True)
    loss = distillation(new, old, 2.0).sum()
    loss.backward()
    assert abs(loss.item()) < 1e-6 and float(new.grad.abs().max()) < 1e-6


@pytest.mark.parametrize("blocks", [[slice(0, 5)], [slice(0, 3), slice(3, 5)]])
def test_lwf_compares_each_old_softmax_on_the_same_pixels(blocks):
    network = classifier({"base": 3, "t1": 2, "t2": 2})
    old = copy.deepcopy(network).eval()
    method = LearningWithoutForgetting(LwF(weight=3.0, temperature=2.0, warmup_steps=0))
    method.before_task(network, Blocks(blocks, slice(5, 7), slice(5, 7)))
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    batch = parts()
    network.eval()
    output = network(batch["labelled"].images)
    got = method.losses(network, batch, output)["lwf"]
    answers = old(batch["labelled"].images).logits
    wanted = 3.0 * sum(
        F.kl_div(
            torch.log_softmax(output.logits[:, b] / 2, 1),
            torch.softmax(answers[:, b] / 2, 1),
            reduction="batchmean",
        )
        for b in blocks
    )
    torch.testing.assert_close(got, wanted)


def test_the_old_model_never_changes_nor_its_statistics(training):
    network = classifier({"base": 3, "t": 2})
    method = LearningWithoutForgetting(OPTIONS["lwf"])
    method.before_task(network, Blocks([slice(0, 3)], slice(3, 5), slice(3, 5)))
    before = copy.deepcopy(method._old.state_dict())
    learner = Learner(network, training, methods=[method], columns=slice(3, 5))
    for _ in range(3):
        learner.step(parts())
    assert all(torch.equal(v, method._old.state_dict()[k]) for k, v in before.items())
    moved = network.state_dict()
    assert not torch.equal(
        before["backbone.layers.1.running_mean"], moved["backbone.layers.1.running_mean"]
    )


def test_a_method_without_options_is_refused(tmp_path):
    from conftest import tiny_values, write_params

    from pipeline.core.errors import UserError

    values = tiny_values()
    task = {"base": "g2", "scenario": "class", "classes": [8, 9], "labels_per_class": 5}
    values |= {"tasks": {"t1": task | {"methods": ["lwf"]}}, "final": "t1"}
    with pytest.raises(UserError, match="'lwf' has no options"):
        load(write_params(tmp_path, values))


def test_smallest_batches_work(training):
    network = classifier({"base": 3, "t": 1})
    method = LearningWithoutForgetting(OPTIONS["lwf"])
    method.before_task(network, Blocks([slice(0, 3)], slice(3, 4), slice(3, 4)))
    learner = Learner(network, training, methods=[method], columns=slice(3, 4))
    assert np.isfinite(float(learner.step(parts(1, 1))["loss"]))
