"""Backbones by name, and the classifier that stands on one: normalisation, features, heads, and
perhaps a calibrator behind them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.resnet9 import ResNet9
from pipeline.wide_resnet import WideResNet
from pipeline.zoo import ZOO


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


def resnet_9(in_channels: int, width: float, stochastic_depth: float) -> nn.Module:
    """A wide shallow residual network: 6.57 M weights, 0.41 M at width 0.25."""
    return ResNet9(in_channels, width, stochastic_depth)


def wrn_28_2(in_channels: int, width: float, stochastic_depth: float) -> nn.Module:
    """Wide ResNet 28-2 (Zagoruyko and Komodakis 2016): 1.47 M weights; 28-k at width k / 2."""
    return WideResNet(28, max(1, round(2 * width)), in_channels, stochastic_depth)


NETWORKS = {
    "small_cnn": small_cnn,
    "wide_cnn": wide_cnn,
    "resnet_9": resnet_9,
    "wrn_28_2": wrn_28_2,
    **ZOO,
}


class Calibrator(nn.Module):
    """Corrects class distributions: log q + MLP(log q), the two-layer network that is the teacher
    in Reduced Meta Pseudo Labels (Pham et al. 2021, arXiv:2003.10580).

    The last layer begins at zero, so that at first every distribution stays what it is.

    Args:
        num_classes: K.
        width: hidden units.
    """

    def __init__(self, num_classes: int, width: int):
        super().__init__()
        last = nn.Linear(width, num_classes)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Linear(num_classes, width), nn.ReLU(), last)

    def forward(self, logits: Tensor) -> Tensor:
        """Logits (N, K) of any distributions q -> logits (N, K) of the corrected ones."""
        log_probs = logits.log_softmax(1)
        return log_probs + self.layers(log_probs)


class Output(NamedTuple):
    """What a classifier says of N images."""

    logits: Tensor  # (N, C): the heads' blocks side by side, oldest first
    features: Tensor  # (N, F): pooled, before dropout


class Classifier(nn.Module):
    """A backbone and one linear head per task.

    Images go in as uint8 or as floats in 0..1; normalisation is inside, so that whoever teaches,
    predicts or exports cannot get it wrong.

    Args:
        backbone: maps float (N, C, H, W) to (N, num_features).
        heads: number of classes of each task's block, in the order of the tasks.
        mean, std: of each channel on the 0..1 scale.
        dropout: on the features, before the heads, and in the backbone's own dropout layers
            (model noise; off in eval mode).
        image_size: side in pixels that images are resized to (antialiased bilinear), so that a
            network may be trained at a low resolution and answer at a higher one; 0 = as they are.
        calibrator: hidden units of the calibrator behind the heads, which are final then; 0 = none.
    """

    def __init__(
        self,
        backbone: nn.Module,
        heads: dict[str, int],
        mean: list[float],
        std: list[float],
        dropout: float = 0.0,
        image_size: int = 0,
        calibrator: int = 0,
    ):
        super().__init__()
        self.backbone = backbone
        self.dropout = dropout
        for layer in backbone.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = dropout
        self.image_size = image_size
        self.heads = nn.ModuleDict()
        self.calibrator: Calibrator | None = None
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, -1, 1, 1))
        for task, num_classes in heads.items():
            self.add_head(task, num_classes)
        if calibrator:
            self.calibrator = Calibrator(sum(heads.values()), calibrator)

    def add_head(self, task: str, num_classes: int) -> None:
        """Grow a block of `num_classes` logits for `task`, to the right of the older ones.

        Raises:
            ValueError: there is a calibrator, which knows no more classes.
        """
        if self.calibrator is not None:
            raise ValueError(f"task: no head for '{task}' can grow before a calibrator")
        # the prefix keeps a task called `keys` or `train` off the module's own attributes
        self.heads[f"task_{task}"] = nn.Linear(self.backbone.num_features, num_classes)

    @property
    def newest_head(self) -> nn.Module:
        """The block added last."""
        return list(self.heads.values())[-1]

    def features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, F)."""
        images = images.float() / 255 if images.dtype == torch.uint8 else images
        if self.image_size and images.shape[2:] != (self.image_size, self.image_size):
            size = (self.image_size, self.image_size)
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        return self.backbone((images - self.mean) / self.std)

    def forward(self, images: Tensor) -> Output:
        """(N, C, H, W) -> logits (N, all classes) and features (N, F)."""
        features = self.features(images)
        noisy = F.dropout(features, self.dropout, self.training) if self.dropout else features
        logits = torch.cat([head(noisy) for head in self.heads.values()], dim=1)
        return Output(self.calibrator(logits) if self.calibrator else logits, features)


def num_parameters(network: nn.Module) -> int:
    """Trainable weights."""
    return sum(weight.numel() for weight in network.parameters())
