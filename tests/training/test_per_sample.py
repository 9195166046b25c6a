"""Means over single samples' gradients, against a backward pass for each sample."""

import numpy as np
import pytest
import torch
from learners import equal_states, network
from torch.nn import functional as F

from pipeline.networks import NETWORKS
from pipeline.networks.classifier import Classifier
from pipeline.training.per_sample import GRADIENTS, mean_gradients, samples_at_once

NUM = 7
IMAGES = torch.randint(0, 256, (NUM, 1, 8, 8), dtype=torch.uint8)
LABELS = torch.arange(NUM) % 3


def nll(logits, label):
    return F.cross_entropy(logits[None], label[None])


def looped(made: Classifier, scalar, of_each, *given) -> dict[str, torch.Tensor]:
    """One backward pass for each sample."""
    weights = dict(made.eval().named_parameters())
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for row in zip(*given):
        loss = scalar(made(row[0][None]).logits[0], *row[1:])
        for name, one in zip(weights, torch.autograd.grad(loss, list(weights.values()))):
            sums[name] += of_each(one)
    return {name: total / len(given[0]) for name, total in sums.items()}


def exact(**settings) -> Classifier:
    """In float64, with running statistics that are not those of a fresh network."""
    made = network(**settings).double()
    made.train()(IMAGES)
    return made


@pytest.mark.parametrize("chunk", [1, 3, NUM, 100, 0])
@pytest.mark.parametrize("of_each", [torch.square, torch.abs])
def test_it_is_the_mean_over_backward_passes_of_one_image(chunk, of_each):
    made = exact()
    results = mean_gradients(made, IMAGES, nll, of_each, LABELS, chunk)
    torch.testing.assert_close(results, looped(made, nll, of_each, IMAGES, LABELS))


@pytest.mark.parametrize(
    ("name", "width"), [("resnet_9", 0.125), ("torchvision/mobilenet_v3_small", 1.0)]
)
def test_of_other_networks_with_resized_images_from_a_memory_map(name, width, tmp_path):
    """Residuals; depthwise convolutions, gates, a dropout layer; antialiased resizing."""
    torch.manual_seed(0)
    backbone = NETWORKS[name].build(3, width, 0.0)
    made = Classifier(backbone, {"a": 2}, [0.5] * 3, [0.3] * 3, 0.5, 32).double()
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")

    def norm(logits):
        return logits.square().sum()

    results = mean_gradients(made, mapped, norm, torch.abs, chunk=2)
    torch.testing.assert_close(results, looped(made, norm, torch.abs, torch.from_numpy(images)))


def test_the_network_is_left_as_it_is():
    """Its mode, statistics and gradients; a frozen one is differentiated all the same."""
    made = exact(dropout=0.5).train().requires_grad_(False)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    results = mean_gradients(made, IMAGES, nll, torch.abs, LABELS)
    assert made.training and equal_states(before, made.state_dict())
    assert all(weight.grad is None for weight in made.parameters())
    assert all(value.abs().sum() > 0 and not value.requires_grad for value in results.values())


def test_other_modes_give_other_numbers():
    """What the test above would not see: batch statistics, and dropout."""
    made = exact(dropout=0.5)
    right = mean_gradients(made, IMAGES, nll, torch.square, LABELS)
    weight = made.newest_head.weight
    made.train()
    loss = F.cross_entropy(made(IMAGES).logits, LABELS, reduction="none")
    each = [torch.autograd.grad(one, weight, retain_graph=True)[0].square() for one in loss]
    wrong = torch.stack(each).mean(0)
    assert (wrong - right["heads.task_base.weight"]).norm() > 0.1 * wrong.norm()


@pytest.mark.parametrize("width", [0.125, 4.0])
def test_chunks_hold_no_more_than_they_may(width):
    backbone = NETWORKS["small_cnn"].build(1, width, 0.0)
    made = Classifier(backbone, {"base": 3}, [0.5], [0.3])
    at_once = samples_at_once(made, IMAGES)
    size = 4 * sum(weight.numel() for weight in made.parameters())
    assert 1 <= at_once <= 32 and (at_once == 1 or at_once * size <= GRADIENTS)
    assert at_once == 32 or (at_once + 1) * size > GRADIENTS


def test_only_one_chunk_of_gradients_is_ever_there():
    seen = []

    def noted(gradients):
        seen.append(len(gradients))
        return gradients.square()

    mean_gradients(exact(), IMAGES, nll, noted, LABELS, chunk=3)
    assert set(seen) == {3, 1}
