"""A classifier of every pixel: the same backbones, a fully convolutional head for each task."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.core.errors import UserError
from pipeline.networks.classifier import Classifier, Output
from pipeline.networks.feature_maps import has_places, outputs


class Segmenter(Classifier):
    """Scores each pixel from the backbone's maps of all sizes, as fully convolutional networks with
    skip connections do (Long et al. 2015, arXiv:1411.4038).

    The last layer of each size (H, W) that the backbone goes through is scored by a 1x1 convolution
    of its own; scores are brought to the images' size (bilinear, not learnt) and added. The paper
    begins at an eighth of the side; networks for small images hardly shrink them.

    Args:
        heads: number of classes of each task's block, in the order of the tasks.
        shape: of the images, (C, H, W).
        dropout: on the maps, before they are scored.
        others: see `Classifier`.

    Raises:
        UserError: the backbone has no maps of places.
    """

    def __init__(
        self,
        backbone: nn.Module,
        heads: dict[str, int],
        mean: list[float],
        std: list[float],
        dropout: float = 0.0,
        image_size: int = 0,
        *,
        shape: Sequence[int],
    ):
        super().__init__(backbone, {}, mean, std, dropout, image_size)
        sizes = outputs(self, shape)
        last = {size[1:]: name for name, size in sizes.items() if is_map(size, shape)}
        if not last:
            what = "the network has no layer with places, which a segmentation needs"
            raise UserError("network", what, "use larger images, or a convolutional network")
        self._layers = [last[size] for size in sorted(last, reverse=True)]
        self._channels = [sizes[name][0] for name in self._layers]
        for name in self._layers:
            # writes to the module that it gets, so that a copy of the network has maps of its own
            self.get_submodule(name).register_forward_hook(_keep)
        for task, num_classes in heads.items():
            self.add_head(task, num_classes)

    def add_head(self, task: str, num_classes: int) -> None:
        """Grow a block of `num_classes` scores of each pixel, behind the older ones."""
        self.heads[f"task_{task}"] = PixelHead(self._channels, num_classes)

    def places(self, size: Sequence[int]) -> tuple[int, ...]:
        """(H, W): each pixel."""
        return tuple(size)

    def forward(self, images: Tensor) -> Output:
        """(N, C, H, W) -> logits (N, all classes, H, W) and pooled features (N, F)."""
        size = images.shape[2:]
        features = self.backbone(self._normalised(images))
        maps = [self._noisy(_taken(self.get_submodule(name))) for name in self._layers]
        logits = torch.cat([head(maps, size) for head in self.heads.values()], dim=1)
        return Output(logits, features)


class PixelHead(nn.Module):
    """A 1x1 convolution for each of several maps; their scores, at one size, are added.

    Args:
        channels: of each map.
        num_classes: K.
    """

    def __init__(self, channels: Sequence[int], num_classes: int):
        super().__init__()
        self.out_features = num_classes
        self.layers = nn.ModuleList(nn.Conv2d(of, num_classes, 1) for of in channels)

    def forward(self, maps: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Maps (N, C', H', W') -> (N, K, H, W)."""
        enlarged = partial(F.interpolate, size=tuple(size), mode="bilinear")
        return sum(enlarged(layer(values)) for layer, values in zip(self.layers, maps))


def is_map(size: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether an output (C', H', W') of an image (C, H, W) is a map of its places: of the image's
    proportions, up to rounding, which one with the channels last (as transformers have) is not."""
    if not has_places(size):
        return False
    (_, height, width), (_, rows, columns) = shape, size
    return abs(rows * width - columns * height) <= max(height, width)


def _keep(module: nn.Module, _inputs: tuple, output: Tensor) -> None:
    module.kept = output


def _taken(module: nn.Module) -> Tensor:
    output, module.kept = module.kept, None
    return output
