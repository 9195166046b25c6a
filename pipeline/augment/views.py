"""The two views of a batch: weak (flip and shift), and strong (weak, then RandAugment)."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from pipeline.augment.checks import check_images, check_setting
from pipeline.augment.rand_augment import RandAugment, to_device
from pipeline.augment.view import View


class WeakView(View):
    """A random horizontal flip, then a random shift of up to `shift` pixels each way.

    Args:
        flip: flip left to right with probability one half; off where mirrored images are other classes.
        shift: pixels, 0 or more; with "reflect" smaller than either side of the images.
        padding: what comes in over the edge: "reflect" (the edge itself is not repeated) or "zero".
    """

    width = 3

    def __init__(self, *, flip: bool = True, shift: int = 4, padding: str = "reflect") -> None:
        check_setting("shift", shift, 0, 2**15, whole=True)
        if padding not in ("reflect", "zero"):
            raise ValueError(f'padding: must be "reflect" or "zero", is {padding!r}')
        self.flip, self.shift, self.padding = flip, shift, padding

    def read(self, uniform: np.ndarray) -> dict[str, np.ndarray]:
        """`flip` (num,) bool; `shift` (num, 2) int64, rows and columns that the window moves."""
        steps = (uniform[:, 1:] * (2 * self.shift + 1)).astype(np.int64) - self.shift
        return {"flip": (uniform[:, 0] < 0.5) & self.flip, "shift": steps}

    def __call__(self, images: Tensor, drawn: Mapping[str, np.ndarray]) -> Tensor:
        """Flip and shift uint8 or float images (N, C, H, W) on any device; a new tensor like them."""
        check_images(images)
        height, width = images.shape[2:]
        if self.padding == "reflect" and self.shift >= min(height, width):
            raise ValueError(
                f"shift: {self.shift} needs images larger than that, are {height}x{width}"
            )
        flip, shift = (to_device(drawn[name], images.device) for name in ("flip", "shift"))
        rows = torch.arange(height, device=images.device) + shift[:, :1]
        columns = torch.arange(width, device=images.device) + shift[:, 1:]
        inside = _inside(rows, height)[:, :, None] & _inside(columns, width)[:, None, :]
        rows, columns = _reflect(rows, height), _reflect(columns, width)
        columns = torch.where(flip[:, None], width - 1 - columns, columns)
        source = rows[:, :, None] * width + columns[:, None, :]  # (N, H, W)
        source = source.flatten(1)[:, None].expand(-1, images.shape[1], -1)
        moved = images.flatten(2).gather(2, source).view(images.shape)
        return moved if self.padding == "reflect" else moved * inside[:, None]


def _inside(index: Tensor, size: int) -> Tensor:
    return (index >= 0) & (index < size)


def _reflect(index: Tensor, size: int) -> Tensor:
    index = index.abs()
    return torch.where(index >= size, 2 * (size - 1) - index, index).clamp(0, size - 1)


class StrongView(View):
    """A weak view, then RandAugment."""

    def __init__(self, weak: WeakView, augment: RandAugment) -> None:
        self.weak, self.augment = weak, augment

    @property
    def width(self) -> int:
        return self.weak.width + self.augment.width

    def read(self, uniform: np.ndarray) -> dict[str, np.ndarray]:
        """The parameters of both, their names in one dict."""
        split = self.weak.width
        return self.weak.read(uniform[:, :split]) | self.augment.read(uniform[:, split:])

    def __call__(self, images: Tensor, drawn: Mapping[str, np.ndarray]) -> Tensor:
        """Both changes to images (N, C, H, W), uint8 or floats in [0, 1]; a new tensor like them."""
        names = [name for name in drawn if name not in ("flip", "shift")]
        return self.augment(self.weak(images, drawn), {name: drawn[name] for name in names})
