"""Masks over a backbone's weights: what a head sees of them, and what learns."""

import copy

import pytest
import torch
from cards import card
from learners import equal_states

from pipeline.networks import NETWORKS, checkpoint
from pipeline.networks.classifier import Classifier
from pipeline.networks.frozen import freeze
from pipeline.networks.masks import Masks, masked_weights
from pipeline.networks.servable import Servable

IMAGES = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
EVERY = pytest.mark.parametrize("name", ["small_cnn", "resnet_9", "wrn_28_2"])


def network(name: str = "small_cnn", masked=()) -> Classifier:
    torch.manual_seed(0)
    backbone = NETWORKS[name].build(1, 0.125, 0.0)
    return Classifier(backbone, {"base": 3, "t": 2}, [0.5], [0.3], masked=masked).eval()


def shuffled(masks: Masks) -> None:
    """Masks of which a third is 0."""
    torch.manual_seed(1)
    for mask in [*masks.parameters(), *masks.buffers()]:
        mask.data.copy_(torch.rand(mask.shape) > 1 / 3)


@EVERY
def test_at_the_start_the_new_head_sees_what_it_saw(name):
    """Bit for bit, with 1 as with real numbers."""
    plain, made = network(name), network(name)
    masks = made.add_masks("t")
    for begin in (lambda: None, lambda: masks.learn(0.01, 0.005), masks.settle):
        begin()
        assert torch.equal(plain(IMAGES).logits, made(IMAGES).logits)


@EVERY
def test_a_head_sees_the_weights_times_its_masks_and_the_others_the_weights(name):
    made = network(name)
    masks = made.add_masks("t")
    shuffled(masks)
    by_hand = copy.deepcopy(made.backbone)
    for layer, weight in masked_weights(by_hand).items():
        weight.data.mul_(getattr(masks, layer.replace(".", "/")).view_as(weight))
    wanted = made.head("t")(by_hand(made._normalised(IMAGES)))
    assert torch.equal(made(IMAGES).logits[:, 3:], wanted)
    assert torch.equal(made(IMAGES).logits[:, :3], network(name)(IMAGES).logits[:, :3])
    assert torch.equal(made(IMAGES).features, made.features(IMAGES))


def test_the_gradient_goes_straight_through_the_threshold():
    """That of 0 or 1 as if they were numbers, also where a weight is shut; the weight has none."""
    made = network()
    masks = made.add_masks("t")
    masks.learn(0.01, 0.005)
    shuffled(masks)
    freeze(made, "masks")
    made(IMAGES).logits[:, 3].sum().backward()
    numbers = {
        name: (mask > 0.005).float().requires_grad_() for name, mask in masks.named_parameters()
    }
    weights = masked_weights(made.backbone)
    seen = {n: w * numbers[n.replace(".", "/")].view_as(w) for n, w in weights.items()}
    features = torch.func.functional_call(made.backbone, seen, (made._normalised(IMAGES),))
    made.head("t")(features)[:, 0].sum().backward()
    for name, mask in masks.named_parameters():
        assert torch.equal(mask.grad, numbers[name].grad)
        assert bool(mask.grad[mask <= 0.005].any())
    assert all(weight.grad is None for weight in made.backbone.parameters())


def test_masks_and_the_newest_head_train_and_nothing_else():
    made = network()
    made.add_masks("t").learn(0.01, 0.005)
    frozen = freeze(made, "masks")
    free = {name for name, weight in made.named_parameters() if weight.requires_grad}
    heads = {"heads.task_t.weight", "heads.task_t.bias"}
    assert free == heads | {
        f"masks.task_t.{n.replace('.', '/')}" for n in masked_weights(made.backbone)
    }
    assert made.backbone in frozen and made.masks["task_t"] not in frozen


def test_a_threshold_is_what_a_number_must_be_above():
    made = network()
    masks = made.add_masks("t")
    masks.learn(0.01, 0.005)
    real = next(masks.parameters())
    real.data[:3] = torch.tensor([0.005, 0.0051, -1.0])
    learning = made(IMAGES).logits
    masks.settle()
    assert torch.equal(made(IMAGES).logits, learning)
    settled = next(masks.buffers())
    assert settled.dtype == torch.bool and settled[:4].tolist() == [False, True, False, True]


def test_weight_decay_is_for_what_has_more_dimensions():
    """Which masks have not."""
    masks = network().add_masks("t")
    masks.learn(0.01, 0.005)
    assert {weight.ndim for weight in masks.parameters()} == {1}


def test_a_masked_model_comes_back_and_is_exported_bit_for_bit(tmp_path):
    said = card() | {"heads": [*card()["heads"]]}
    said["heads"][1] = said["heads"][1] | {"masked": True}
    made = checkpoint.build(said)
    shuffled(made.masks["task_t1"])
    checkpoint.save(tmp_path, made, said)
    read, read_card = checkpoint.load(tmp_path)
    assert equal_states(made.state_dict(), read.state_dict())
    assert read_card["num_parameters"] == sum(
        w.numel() for w in checkpoint.build(card()).parameters()
    )
    served = Servable(read, read_card)
    images = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    batch = torch.export.Dim("batch")
    exported = torch.export.export(served, (images,), dynamic_shapes=({0: batch},)).module()
    others = torch.randint(0, 256, (7, 1, 8, 8), dtype=torch.uint8)
    assert torch.equal(exported(others), served(others))
    assert not torch.equal(served(others), Servable(checkpoint.build(card()), card())(others))


def test_the_rate_multiplies_the_gradient_and_no_answer():
    grads = []
    for rate in (1.0, 8.0):
        made = network()
        masks = made.add_masks("t")
        masks.learn(0.01, 0.005, rate)
        logits = made(IMAGES).logits
        assert torch.equal(logits, network()(IMAGES).logits)
        logits[:, 4].sum().backward()
        grads.append([mask.grad for mask in masks.parameters()])
    assert all(torch.equal(8 * one, other) for one, other in zip(*grads))
