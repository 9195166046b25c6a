"""The network that answers each pixel, and how right its answers are."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score
from torch import nn
from torch.nn import functional as F

from pipeline.core.errors import UserError
from pipeline.networks import NETWORKS, architecture_of, checkpoint, evaluate
from pipeline.networks import segmenter as segmenter_module
from pipeline.networks.segmenter import Segmenter

SHAPE = (1, 16, 16)
CARD = {
    "name": "s",
    "kind": "segmentation",
    "network": {
        "name": "small_cnn",
        "width": 0.25,
        "stochastic_depth": 0.0,
        "dropout": 0.0,
        "image_size": 0,
    },
    "heads": [{"task": "base", "classes": ["background", "a", "b"]}],
    "image_shape": list(SHAPE),
    "normalisation": {"mean": [0.4], "std": [0.3]},
}


def segmenter(name: str = "small_cnn", shape=SHAPE, **options) -> Segmenter:
    torch.manual_seed(0)
    width = 0.25 if architecture_of(name).any_width else 1.0
    backbone = architecture_of(name).build(shape[0], width, 0.0)
    mean, std = [0.4] * shape[0], [0.3] * shape[0]
    return Segmenter(backbone, {"base": 3}, mean, std, shape=shape, **options).eval()


def images(num: int = 5, shape=SHAPE) -> torch.Tensor:
    return torch.randint(0, 256, (num, *shape), dtype=torch.uint8)


@pytest.mark.parametrize("name", [name for name in NETWORKS if "/" not in name])
def test_each_pixel_has_logits(name):
    output = segmenter(name)(images())
    assert output.logits.shape == (5, 3, 16, 16) and output.features.shape[0] == 5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torchvision/resnet18", "torchvision/mobilenet_v3_small"])
def test_networks_of_torchvision_too(name):
    shape = (3, 64, 48)
    assert segmenter(name, shape)(images(2, shape)).logits.shape == (2, 3, 64, 48)


def test_scores_are_the_sum_of_all_sizes_brought_to_the_images():
    """Against the layers of small_cnn called one by one."""
    network, batch = segmenter(), images()
    values, wanted, ends = (batch / 255 - 0.4) / 0.3, 0.0, []
    layers = list(network.backbone.layers)
    for layer, following in zip(layers, [*layers[1:], nn.MaxPool2d(2)]):
        values = layer(values)
        if isinstance(following, nn.MaxPool2d):
            ends.append(values.clone())
    assert [tuple(v.shape[2:]) for v in ends] == [(16, 16), (8, 8), (4, 4)]
    for values, convolution in zip(ends, network.head("base").layers, strict=True):
        scores = convolution(values)
        wanted = wanted + F.interpolate(scores, (16, 16), mode="bilinear")
    torch.testing.assert_close(network(batch).logits, wanted, rtol=1e-5, atol=1e-5)


def test_images_that_are_resized_inside_are_answered_at_their_own_size():
    assert segmenter(image_size=24)(images()).logits.shape == (5, 3, 16, 16)


def test_a_copy_has_maps_of_its_own():
    """As a moving average of weights is: the copy's answer is that of its weights."""
    network, batch = segmenter(), images()
    other = copy.deepcopy(network)
    for weight in other.parameters():
        weight.data.mul_(0.5)
    again = segmenter()
    again.load_state_dict(other.state_dict())
    assert torch.equal(other(batch).logits, again(batch).logits)
    assert not torch.equal(other(batch).logits, network(batch).logits)


def test_nothing_is_kept_of_a_pass():
    network = segmenter()
    network(images())
    assert all(getattr(module, "kept", None) is None for module in network.modules())


def test_dropout_is_on_the_maps_in_training_alone():
    network, batch = segmenter(dropout=0.5), images()
    assert torch.equal(network(batch).logits, network(batch).logits)
    network.backbone.eval()
    network.training = True
    assert not torch.equal(network(batch).logits, network(batch).logits)


def test_all_heads_stand_side_by_side():
    network, batch = segmenter(), images()
    before = network(batch).logits
    network.add_head("t", 2)
    after = network(batch).logits
    assert after.shape[1] == 5 and torch.equal(after[:, :3], before)


def test_it_comes_back_from_its_files(tmp_path):
    torch.manual_seed(1)
    network, batch = checkpoint.build(CARD).eval(), images()
    written = checkpoint.save(tmp_path / "s", network, CARD)
    again, card = checkpoint.load(tmp_path / "s")
    assert isinstance(again, Segmenter) and card["kind"] == written["kind"] == "segmentation"
    assert torch.equal(again(batch).logits, network(batch).logits)


@pytest.mark.parametrize(
    ("size", "shape", "wanted"),
    [
        ((64, 8, 8), (3, 32, 32), True),
        ((64, 8, 6), (3, 32, 24), True),
        ((64, 5, 4), (3, 33, 30), True),  # 33 / 8 and 30 / 8, rounded up
        ((8, 8, 64), (3, 32, 32), False),  # the channels last
        ((7, 7, 768), (3, 224, 224), False),
        ((64, 1, 1), (3, 32, 32), False),
        ((197, 768), (3, 224, 224), False),
    ],
)
def test_maps_are_told_by_the_images_proportions(size, shape, wanted):
    assert segmenter_module.is_map(size, shape) == wanted


@pytest.mark.slow
def test_of_a_transformer_no_map_with_its_channels_last_is_scored():
    shape = (3, 64, 64)
    network = segmenter("torchvision/swin_t", shape)
    assert network(images(1, shape)).logits.shape == (1, 3, 64, 64)
    widths = [layer.in_channels for layer in network.head("base").layers]
    assert set(widths) <= {96, 192, 384, 768}


def test_a_network_without_places_is_refused():
    class Flat(nn.Module):
        num_features = 4

        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(256, 4)

        def forward(self, images):
            return self.layer(images.flatten(1))

    with pytest.raises(UserError, match="no layer with places"):
        Segmenter(Flat(), {"base": 3}, [0.4], [0.3], shape=SHAPE)


def test_answers_come_in_batches_as_at_once():
    network, batch = segmenter(), images(7)
    some = evaluate.infer(network, batch, batch_size=3)
    torch.testing.assert_close(some, network(batch).logits, rtol=1e-5, atol=1e-5)


def random_answers(num: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(num, 4, 5, 7, generator=generator)
    logits[:, 3] = -9.0  # never answered
    return logits, torch.randint(0, 3, (num, 5, 7), generator=generator)


def test_the_mean_iou_is_scikit_learns():
    logits, labels = random_answers()
    wanted = jaccard_score(labels.flatten(), logits.argmax(1).flatten(), average="macro")
    assert evaluate.mean_iou(logits, labels) == pytest.approx(wanted)
    assert evaluate.mean_iou(F.one_hot(labels, 4).movedim(-1, 1).float(), labels) == 1


def test_a_class_that_is_answered_and_not_there_counts_and_one_in_neither_does_not():
    labels = torch.zeros(1, 2, 2, dtype=torch.int64)
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 1, 0, 0] = 1.0
    assert evaluate.mean_iou(logits, labels) == pytest.approx((3 / 4 + 0) / 2)


def test_the_iou_of_each_class():
    logits, labels = random_answers()
    counts = evaluate.confusion(logits, labels, 4)
    assert counts.sum() == labels.numel()
    wanted = jaccard_score(labels.flatten(), logits.argmax(1).flatten(), average=None)
    iou = evaluate.class_iou(counts)
    np.testing.assert_allclose(iou[:3], wanted)
    assert np.isnan(iou[3])
