"""Learning without Forgetting against its formula, on the pixels that the network sees."""

import copy

import pytest
import torch
from conftest import tiny_values, write_params
from jobs import extension, spy_on_fits
from learners import TRAINING, copied, equal_states, network, part, setting
from torch import nn
from torch.nn import functional as F

from pipeline.continual.extend import extend
from pipeline.methods.continual.lwf import LearningWithoutForgetting, distillation
from pipeline.networks.classifier import Classifier
from pipeline.training.learner import Learner

CALM = TRAINING.model_copy(update={"ema": 0.0, "dropout": 0.0})


def lwf(**options) -> LearningWithoutForgetting:
    return LearningWithoutForgetting(LearningWithoutForgetting.Options(**options))


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


class Quadrants(nn.Module):
    """A backbone whose features are the brightness of the image's four quarters, so that answers
    to an image and to its mirror image are far apart."""

    num_features = 4

    def forward(self, images):
        return 3 * nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


@pytest.mark.parametrize("blocks", [[slice(0, 5)], [slice(0, 3), slice(3, 5)]])
def test_each_old_softmax_is_compared_on_the_same_pixels(blocks):
    torch.manual_seed(0)
    made = Classifier(Quadrants(), {"base": 3, "t1": 2, "t2": 2}, [0.5], [0.3])
    images = torch.zeros(6, 1, 8, 8, dtype=torch.uint8)
    images[:3, :, :, :4], images[3:, :, :4] = 255, 255  # the left half, the upper half
    old, method = copied(made), lwf(weight=3.0)
    method.start(setting(made, blocks, slice(5, 7), {"base": old}))
    with torch.no_grad():
        for weight in made.heads.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    batch = {"labelled": part(6, classes=2)._replace(images=images)}
    output = made(images)

    def wanted(seen):
        answers = old(seen).logits
        return 3.0 * sum(
            F.kl_div(
                torch.log_softmax(output.logits[:, b] / 2, 1),
                torch.softmax(answers[:, b] / 2, 1),
                reduction="batchmean",
            )
            for b in blocks
        )

    results = method.losses(made, batch, output)["lwf"].detach()
    torch.testing.assert_close(results, wanted(images))
    for other in (images.flip(-1), images.flip(-2), images.roll(2, -1)):
        assert (wanted(other).detach() - results).abs() > 0.1 * results


@pytest.mark.parametrize("batch_norm", ["joint", "separate"])
@pytest.mark.parametrize("others", [{}, {"uda": {}}, {"fixmatch": {"weak_view": "joint"}}], ids=str)
def test_the_old_model_is_given_the_very_images_of_the_networks_pass(
    chain, monkeypatch, others, batch_norm
):
    """In a real task, at every step: each part's images, the same bytes in the same order."""
    values = tiny_values()
    values["tasks"]["t1"] |= {"methods": {"lwf": {"warmup_steps": 0}} | others}
    values["tasks"]["t1"]["training"] = {"batch_norm": batch_norm, "batch_size": 4}
    write_params(chain, values)
    trained, old = [], []

    def note(learner, *_):
        learner.network.register_forward_pre_hook(
            lambda network, given: trained.append(given[0]) if network.training else None
        )
        learner.methods["lwf"]._old.register_forward_pre_hook(lambda _, given: old.append(given[0]))

    spy_on_fits(monkeypatch, note)
    extend(extension())
    parts = 1 + bool(others) + ("fixmatch" in others)
    assert len(trained) == 24 * (parts if batch_norm == "separate" else 1) and len(old) == 24
    assert torch.equal(torch.cat(trained), torch.cat(old))


def old_task(made: Classifier, num_new: int):
    method = lwf(warmup_steps=0)
    new = slice(3, 3 + num_new)
    method.start(setting(made, [slice(0, 3)], new, {"base": copied(made)}))
    return method, Learner(made, CALM, methods={"lwf": method})


def test_the_old_model_never_changes_nor_its_statistics():
    made = network(heads={"base": 3, "t": 2})
    method, learner = old_task(made, 2)
    before = copy.deepcopy(method._old.state_dict())
    for step in range(3):
        learner.step({"labelled": part(6, step, classes=2, columns=slice(3, 5))})
    assert equal_states(before, method._old.state_dict())
    assert all(weight.grad is None for weight in method._old.parameters())
    moved = "backbone.layers.1.running_mean"
    assert not torch.equal(before[moved], made.state_dict()[moved])


def test_smallest_batches_work():
    _, learner = old_task(network(heads={"base": 3, "t": 1}), 1)
    assert learner.step({"labelled": part(1, classes=1, columns=slice(3, 4))})["loss"].isfinite()
