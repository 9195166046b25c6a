"""The wide residual network: its size, its gradients, its stochastic depth."""

import pytest
import torch
from torch import nn

from pipeline.networks.resnet9 import Residual
from pipeline.networks.wide_resnet import Block, WideResNet, drop_residual


def expected_parameters(per_group, width, in_channels):
    """Counted layer by layer from the paper's table 1, with 2 numbers per BatchNorm channel."""
    widths = [16, 16 * width, 32 * width, 64 * width]
    total = 9 * in_channels * 16 + 2 * widths[-1]
    for before, after in zip(widths, widths[1:]):
        total += 2 * before + 9 * before * after + 2 * after + 9 * after * after
        total += before * after if before != after else 0
        total += (per_group - 1) * (4 * after + 18 * after * after)
    return total


@pytest.mark.parametrize(("depth", "width", "in_channels"), [(28, 2, 3), (10, 1, 1), (16, 4, 2)])
def test_parameter_count(depth, width, in_channels):
    net = WideResNet(depth, width, in_channels)
    num = sum(p.numel() for p in net.parameters())
    assert num == expected_parameters((depth - 4) // 6, width, in_channels)


def test_wrn_28_2_has_the_known_size():
    net = nn.Sequential(WideResNet(28, 2), nn.Linear(128, 10))
    num = sum(p.numel() for p in net.parameters())
    assert num == pytest.approx(1.47e6, rel=0.005)


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(0)
    net = WideResNet(10, 2)
    net(torch.randn(4, 3, 16, 16)).square().sum().backward()
    missing = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert missing == []


@pytest.mark.parametrize("bf16", [True, False])
def test_a_relu_in_place_has_the_bits_of_one_out_of_place(bf16, monkeypatch):
    """BatchNorm's backward must not need what it put out, nor must the features' pooling."""

    def step() -> list[torch.Tensor]:
        torch.manual_seed(0)
        net = WideResNet(10, 1, stochastic_depth=0.5).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            features = net(torch.randn(6, 3, 16, 16))
        features.float().square().sum().backward()
        return [features, *net.buffers(), *(weight.grad for weight in net.parameters())]

    in_place = step()
    monkeypatch.setattr(torch.Tensor, "relu_", torch.Tensor.relu)
    assert all(torch.equal(one, other) for one, other in zip(in_place, step(), strict=True))


def test_a_gradient_through_it_may_be_differentiated_again():
    """As soft labels of Meta Pseudo Labels ask."""
    torch.manual_seed(0)
    block, inputs = Block(2, 3, 2, skip=0.0).double(), torch.randn(4, 2, 4, 4).double()
    assert torch.autograd.gradgradcheck(block, inputs.requires_grad_())


def test_features_are_pooled():
    net = WideResNet(10, 2, in_channels=1).eval()
    assert net(torch.randn(3, 1, 8, 8)).shape == (3, net.num_features)
    assert net(torch.randn(3, 1, 32, 24)).shape == (3, net.num_features)


def test_stochastic_depth_rises_linearly_to_the_last_block():
    skips = [
        m.skip for m in WideResNet(28, 2, stochastic_depth=0.2).modules() if isinstance(m, Block)
    ]
    assert skips == pytest.approx([0.2 * (i + 1) / 12 for i in range(12)])


def test_stochastic_depth_keeps_the_expected_residual():
    torch.manual_seed(0)
    dropped = drop_residual(torch.ones(20000, 4, 1, 1), 0.4)
    assert sorted(dropped[:, 0, 0, 0].unique().tolist()) == pytest.approx([0.0, 1 / 0.6])
    assert (dropped == dropped[:, :1]).all()
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.03)
    assert torch.equal(drop_residual(torch.ones(5, 4, 1, 1), 0.0), torch.ones(5, 4, 1, 1))


@pytest.mark.parametrize("block", [Block(4, 4, 1, skip=0.9), Residual(4, skip=0.9)])
def test_nothing_is_dropped_in_evaluation(block):
    images = torch.randn(6, 4, 8, 8)
    assert not torch.equal(block.train()(images), block.train()(images))
    assert torch.equal(block.eval()(images), block(images))


@pytest.mark.parametrize("arguments", [{"depth": 20}, {"depth": 4}, {"stochastic_depth": 1.0}])
def test_impossible_settings_are_refused(arguments):
    with pytest.raises(ValueError):
        WideResNet(**arguments)
