"""Plain convolutional networks for images of 8 to 32 pixels."""

from torch import Tensor, nn


class SmallCNN(nn.Module):
    """Six 3x3 convolutions in three stages, halving the image twice; for images of 8 to 32 pixels.

    Args:
        in_channels: channels of the image.
        width: multiplies the channels (32, 64, 128).
        stochastic_depth: has no residual blocks to drop; must be 0.
    """

    def __init__(self, in_channels: int, width: float = 1.0, stochastic_depth: float = 0.0):
        super().__init__()
        channels = [max(1, round(c * width)) for c in (32, 64, 128)]
        layers: list[nn.Module] = []
        before = in_channels
        for stage, after in enumerate(channels):
            layers += [] if stage == 0 else [nn.MaxPool2d(2, ceil_mode=True)]
            layers += [*_conv(before, after), *_conv(after, after)]
            before = after
        self.layers = nn.Sequential(*layers)
        self.num_features = before

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> pooled features (N, num_features)."""
        return self.layers(images).mean((2, 3))


def _conv(before: int, after: int) -> list[nn.Module]:
    return [
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    ]


def small_cnn(in_channels: int, width: float, stochastic_depth: float) -> nn.Module:
    """About 290 k weights."""
    return SmallCNN(in_channels, width, stochastic_depth)


def wide_cnn(in_channels: int, width: float, stochastic_depth: float) -> nn.Module:
    """`small_cnn` with half as many channels again: about 640 k weights."""
    return SmallCNN(in_channels, 1.5 * width, stochastic_depth)
