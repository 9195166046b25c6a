"""The classifier: normalisation, a backbone's features, a head for each task, and perhaps a
calibrator behind them."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.networks.calibrator import Calibrator
from pipeline.networks.corrected import CorrectedHead
from pipeline.networks.masks import Masks


class Output(NamedTuple):
    """What a classifier says of N images."""

    logits: Tensor  # (N, C): the heads' blocks side by side, oldest first
    features: Tensor  # (N, F): pooled, before dropout; of the weights without masks
    maps: Mapping[str, Tensor] = MappingProxyType({})  # outputs of inner layers, if recorded


class Classifier(nn.Module):
    """A backbone and one linear head per task.

    Images go in as uint8 or as floats in 0..1; normalisation is inside, so that whoever teaches,
    predicts or exports cannot get it wrong.

    Args:
        backbone: maps float (N, C, H, W) to (N, num_features).
        heads: number of classes of each task's block, in the order of the tasks.
        mean, std: of each channel on the 0..1 scale.
        dropout: on the features, before the heads, and in those dropout layers of the backbone
            that are on (model noise; off in eval mode).
        image_size: side in pixels that images are resized to (antialiased bilinear), so that a
            network may be trained at a low resolution and answer at a higher one; 0 = as they are.
        calibrator: hidden units of the calibrator behind the heads, which are final then; 0 = none.
        masked: tasks whose heads see the backbone through masks of their own.
        corrected: tasks whose logits are corrected for their bias.
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
        masked: Collection[str] = (),
        corrected: Collection[str] = (),
    ):
        super().__init__()
        self.backbone = backbone
        self.dropout = dropout
        for layer in backbone.modules():
            if isinstance(layer, nn.Dropout) and layer.p:  # transformers have theirs at 0
                layer.p = dropout
        self.image_size = image_size
        self.heads = nn.ModuleDict()
        self.masks = nn.ModuleDict()
        self.calibrator: Calibrator | None = None
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, -1, 1, 1))
        for task, num_classes in heads.items():
            self.add_head(task, num_classes)
            if task in corrected:
                self.correct_newest_head()
        for task in masked:
            self.add_masks(task)
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

    def correct_newest_head(self) -> None:
        """Let the block added last have a scale and a shift, 1 and 0 as yet."""
        *_, task = self.heads
        self.heads[task] = CorrectedHead.of(self.heads[task])

    def add_masks(self, task: str) -> Masks:
        """Let the head of a task see the backbone through masks of its own, all 1 as yet."""
        self.masks[f"task_{task}"] = masks = Masks(self.backbone)
        return masks

    def head(self, task: str) -> nn.Module:
        """The block of a task."""
        return self.heads[f"task_{task}"]

    @property
    def num_classes(self) -> int:
        """Logits of all heads."""
        return sum(head.out_features for head in self.heads.values())

    def places(self, size: Sequence[int]) -> tuple[int, ...]:
        """Where in an image of a size (H, W) it answers: (), once for all of it."""
        return ()

    @property
    def newest_head(self) -> nn.Module:
        """The block added last."""
        return list(self.heads.values())[-1]

    def features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, F), of the weights without masks."""
        return self.backbone(self._normalised(images))

    def _normalised(self, images: Tensor) -> Tensor:
        images = images.float() / 255 if images.dtype == torch.uint8 else images
        if self.image_size and images.shape[2:] != (self.image_size, self.image_size):
            size = (self.image_size, self.image_size)
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        return (images - self.mean) / self.std

    def forward(self, images: Tensor) -> Output:
        """(N, C, H, W) -> logits (N, all classes) and features (N, F); a pass through the backbone,
        and one for each head with masks."""
        images = self._normalised(images)
        features = self.backbone(images)
        seen = dict.fromkeys(self.heads, self._noisy(features))
        for task, masks in self.masks.items():
            seen[task] = self._noisy(masks.features(self.backbone, images))
        logits = torch.cat([head(seen[task]) for task, head in self.heads.items()], dim=1)
        return Output(self.calibrator(logits) if self.calibrator else logits, features)

    def log_probs(self, output: Output, temperature: float = 1.0) -> Tensor:
        """log softmax(logits / T) of what it said: (N, C), at least float32."""
        logits = output.logits
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return F.log_softmax(logits / temperature, dim=1)

    def _noisy(self, features: Tensor) -> Tensor:
        return F.dropout(features, self.dropout, self.training) if self.dropout else features


def num_parameters(network: nn.Module) -> int:
    """Trainable weights."""
    return sum(weight.numel() for weight in network.parameters())
