"""Every network of our own: its shapes, its gradients, its noise; and the heads on top."""

import pytest
import torch

from pipeline.networks import NETWORKS
from pipeline.networks.classifier import Classifier, num_parameters

OWN = [name for name in NETWORKS if "/" not in name]  # the others: test_torchvision.py
EVERY = pytest.mark.parametrize("name", OWN)


def classifier(name="small_cnn", *, width=0.25, channels=1, depth=0.0, **settings) -> Classifier:
    torch.manual_seed(0)
    backbone = NETWORKS[name].build(channels, width, depth)
    heads = settings.pop("heads", {"base": 3})
    return Classifier(backbone, heads, [0.3] * channels, [0.2] * channels, **settings)


def images(num=4, channels=1, size=8):
    generator = torch.Generator().manual_seed(0)
    shape = (num, channels, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@EVERY
@pytest.mark.parametrize("width", [0.25, 0.5, 1.0, 1.5])
def test_features_and_logits_have_their_shapes_at_every_width(name, width):
    network = classifier(name, width=width).eval()
    output = network(images(2))
    assert output.logits.shape == (2, 3)
    assert output.features.shape == (2, network.backbone.num_features)


@EVERY
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 9), (3, 32)])
def test_other_images_fit_too(name, channels, size):
    network = classifier(name, channels=channels)
    assert network(images(2, channels, size)).logits.isfinite().all()


@EVERY
def test_every_parameter_gets_a_gradient(name):
    network = classifier(name)
    network(images()).logits.square().sum().backward()
    missing = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


@EVERY
def test_a_wider_network_has_more_weights(name):
    sizes = [num_parameters(classifier(name, width=width)) for width in (1.0, 2.0)]
    assert 3 < sizes[1] / sizes[0] < 4.5


def test_the_networks_have_the_sizes_they_claim():
    sizes = {name: num_parameters(NETWORKS[name].build(1, 1.0, 0.0)) for name in OWN}
    assert sizes["small_cnn"] == pytest.approx(290e3, rel=0.02)
    assert sizes["wide_cnn"] == pytest.approx(640e3, rel=0.02)
    assert sizes["wrn_28_2"] == pytest.approx(1.47e6, rel=0.01)


def test_normalisation_is_inside_and_floats_are_bytes_over_255():
    network = classifier().eval()
    given = images()
    seen = []
    network.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    assert torch.equal(network(given).logits, network(given.float() / 255).logits)
    assert torch.allclose(seen[0], (given / 255 - 0.3) / 0.2, atol=1e-6)


def test_dropout_is_noise_in_training_alone():
    network = classifier(dropout=0.5)
    network.backbone.eval()  # its BatchNorm aside
    noisy = [network(images()).logits for _ in range(2)]
    assert not torch.equal(*noisy)
    assert torch.equal(network(images()).features, network(images()).features)
    network.eval()
    assert torch.equal(network(images()).logits, network(images()).logits)


def test_a_new_head_stands_to_the_right_and_leaves_the_older_logits_alone():
    network = classifier(heads={"base": 3, "t1": 2}).eval()
    before = network(images()).logits
    network.add_head("t2", 4)
    after = network(images()).logits
    assert list(network.heads) == ["task_base", "task_t1", "task_t2"] and after.shape == (4, 9)
    assert torch.equal(after[:, :5], before)


def test_normalisation_is_saved_with_the_weights():
    state = classifier().state_dict()
    assert state["mean"].flatten().tolist() == pytest.approx([0.3])
    assert state["std"].flatten().tolist() == pytest.approx([0.2])
