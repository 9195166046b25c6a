"""Wide residual network, Zagoruyko & Komodakis 2016, https://arxiv.org/abs/1605.07146.

Every block is BN-ReLU-conv-BN-ReLU-conv plus a shortcut. Where a block changes the number of
channels, its 1x1 shortcut takes the block's *pre-activated* input. So does the first block of every
group here: widely used ports skip that in groups 2 and 3, whose first BatchNorm then never receives
a gradient.
"""

import torch
from torch import Tensor, nn


class WideResNet(nn.Module):
    """Backbone for images of about 32x32 pixels (it halves the side twice).

    Args:
        depth: layers, 6 * k + 4: k blocks in each of three groups.
        width: channels are 16, then 16, 32 and 64 times this.
        in_channels: of the images.
        stochastic_depth: probability of skipping the last block's residual while training, rising
            linearly from near 0 at the first (Huang et al. 2016, arXiv:1603.09382); 0 to below 1.

    Raises:
        ValueError: no network of that depth, or a probability outside [0, 1).
    """

    def __init__(
        self,
        depth: int = 28,
        width: int = 2,
        in_channels: int = 3,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth: must be 6 * k + 4, 10 or more, is {depth}")
        if not 0 <= stochastic_depth < 1:
            raise ValueError(f"stochastic_depth: must be in [0, 1), is {stochastic_depth}")
        channels = [16, 16 * width, 32 * width, 64 * width]
        self.num_features = channels[-1]
        self.stem = nn.Conv2d(in_channels, channels[0], 3, padding=1, bias=False)
        self.blocks = nn.Sequential(*_blocks(channels, (depth - 4) // 6, stochastic_depth))
        self.norm = nn.BatchNorm2d(channels[-1])
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Features (N, num_features) of float images (N, in_channels, H, W)."""
        out = self.norm(self.blocks(self.stem(images))).relu_()
        return out.mean((2, 3))


class Block(nn.Module):
    """One pre-activated residual block; `skip` is the probability of leaving the residual out."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, skip: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut = None
        if in_channels != out_channels or stride != 1:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
        self.skip = skip

    def forward(self, inputs: Tensor) -> Tensor:
        # in place, as BatchNorm's backward needs what went in and not what came out
        activated = self.norm1(inputs).relu_()
        residual = self.conv2(self.norm2(self.conv1(activated)).relu_())
        shortcut = inputs if self.shortcut is None else self.shortcut(activated)
        return shortcut + drop_residual(residual, self.skip if self.training else 0.0)


def drop_residual(residual: Tensor, skip: float) -> Tensor:
    """Stochastic depth: each image's residual (N, C, H, W) zeroed with probability `skip`, else
    scaled so that the expected residual is the one that evaluation uses."""
    if skip == 0:
        return residual
    kept = torch.rand(len(residual), 1, 1, 1, device=residual.device) >= skip
    return residual * (kept / (1 - skip)).to(residual.dtype)


def _blocks(channels: list[int], per_group: int, skip: float) -> list[Block]:
    blocks, num = [], per_group * (len(channels) - 1)
    for group, (before, after) in enumerate(zip(channels, channels[1:]), start=1):
        for index in range(per_group):
            stride = 2 if group > 1 and index == 0 else 1
            skip_here = skip * (len(blocks) + 1) / num
            blocks.append(Block(before if index == 0 else after, after, stride, skip_here))
    return blocks


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def wrn_28_2(in_channels: int, width: float, stochastic_depth: float) -> nn.Module:
    """Wide ResNet 28-2 (Zagoruyko and Komodakis 2016): 1.47 M weights; 28-k at width k / 2."""
    return WideResNet(28, max(1, round(2 * width)), in_channels, stochastic_depth)
