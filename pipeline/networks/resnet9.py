"""A wide shallow residual network for small images: eight convolutions, two residual blocks.

The shape is that of Page 2018 ("How to train your ResNet", the 9-layer network), which reaches a
given accuracy on 32x32 images in far less time than deep thin networks: wide layers keep the
hardware busy, and half of the work is done after the first pooling.
"""

from torch import Tensor, nn

from pipeline.networks.wide_resnet import drop_residual


class ResNet9(nn.Module):
    """Backbone for images of 8 to 64 pixels (it halves the side three times).

    Args:
        in_channels: of the images.
        width: channels are 64, 128, 256 and 512 times this.
        stochastic_depth: probability of skipping the second residual block while training, half
            of it for the first (Huang et al. 2016, arXiv:1603.09382); 0 to below 1.
    """

    def __init__(self, in_channels: int = 3, width: float = 1.0, stochastic_depth: float = 0.0):
        super().__init__()
        stem, first, second, third = (max(1, round(c * width)) for c in (64, 128, 256, 512))
        self.layers = nn.Sequential(
            *_conv(in_channels, stem),
            *_conv(stem, first),
            nn.MaxPool2d(2, ceil_mode=True),
            Residual(first, stochastic_depth / 2),
            *_conv(first, second),
            nn.MaxPool2d(2, ceil_mode=True),
            *_conv(second, third),
            nn.MaxPool2d(2, ceil_mode=True),
            Residual(third, stochastic_depth),
        )
        self.num_features = third

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> features (N, num_features), the largest over all places."""
        return self.layers(images).amax((2, 3))


class Residual(nn.Module):
    """Two convolutions and an identity; `skip` is the probability of leaving the former out."""

    def __init__(self, channels: int, skip: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_conv(channels, channels), *_conv(channels, channels))
        self.skip = skip

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + drop_residual(self.layers(inputs), self.skip if self.training else 0.0)


def _conv(before: int, after: int) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, 3, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


def resnet_9(in_channels: int, width: float, stochastic_depth: float) -> nn.Module:
    """A wide shallow residual network: 6.57 M weights, 0.41 M at width 0.25."""
    return ResNet9(in_channels, width, stochastic_depth)
