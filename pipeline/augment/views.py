"""The two views of a batch: weak (flip and shift), and strong (weak, then RandAugment)."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from pipeline.augment.checks import check_images, check_setting
from pipeline.augment.rand_augment import RandAugment
from pipeline.augment.view import View, to_device
from pipeline.augment.warp import gather

SMALL = 48 * 48  # pixels of a channel up to which one gather for all beats a slice for each image
OUTSIDE = -(2**40)  # keeps a sum of row and column offsets negative, which a gather fills with 0


class WeakView(View):
    """A random shift of up to `shift` pixels each way, then a random horizontal flip.

    Args:
        flip: flip with probability one half; off where a mirrored image is of another class.
        shift: pixels, 0 or more; with "reflect" less than either side of the images.
        padding: what comes in over the edge: "reflect" (the edge itself not repeated) or "zero".

    Raises:
        ValueError: a setting is out of range.
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
        """Shift and flip images (N, C, H, W), uint8 or floats in [0, 1]; a new tensor like them.

        Raises:
            TypeError, ValueError: wrong dtype, shape or range, or images no larger than the shift.
        """
        check_images(images)
        if self.padding == "reflect" and self.shift >= min(images.shape[2:]):
            size = "x".join(map(str, images.shape[2:]))
            raise ValueError(f"shift: {self.shift} pixels is too much for images of {size}")
        on_cpu = images.device.type == "cpu" and images.dtype == torch.uint8
        if on_cpu and images[:1, :1].numel() > SMALL:
            return self._slice(images.numpy(), drawn)
        return self._gather(
            images, *(to_device(drawn[x], images.device) for x in ("flip", "shift"))
        )

    def masks(self, masks: Tensor, drawn: Mapping[str, np.ndarray]) -> Tensor:
        """What is known of each pixel, (N, K, H, W), moved as the images are; with "zero", 0 where
        a pixel comes from outside."""
        return self._gather(masks, *(to_device(drawn[x], masks.device) for x in ("flip", "shift")))

    def _slice(self, images: np.ndarray, drawn: Mapping[str, np.ndarray]) -> Tensor:
        (height, width), pad = images.shape[2:], (self.shift, self.shift)
        mode = "reflect" if self.padding == "reflect" else "constant"
        padded = np.pad(images, ((0, 0), (0, 0), pad, pad), mode=mode)
        moved = np.empty(images.shape, dtype=np.uint8)
        corners, flips = (drawn["shift"] + self.shift).tolist(), drawn["flip"].tolist()
        for target, source, (top, left), flip in zip(moved, padded, corners, flips):
            window = source[:, top : top + height, left : left + width]
            target[...] = window[..., ::-1] if flip else window
        return torch.from_numpy(moved)

    def _gather(self, images: Tensor, flip: Tensor, shift: Tensor) -> Tensor:
        """The same by one index per pixel, in a shape that does not depend on what was drawn."""
        height, width = images.shape[2:]
        rows = torch.arange(height, device=images.device).expand(len(images), -1)
        columns = torch.arange(width, device=images.device).expand(len(images), -1)
        columns = torch.where(flip[:, None], width - 1 - columns, columns) + shift[:, 1:]
        source = self._source(rows + shift[:, :1], height)[:, :, None] * width
        source = source + self._source(columns, width)[:, None, :]
        return gather(images, source.flatten(1)[:, None])

    def _source(self, index: Tensor, size: int) -> Tensor:
        if self.padding == "zero":
            return torch.where((index < 0) | (index >= size), OUTSIDE, index)
        index = index.abs()
        return torch.where(index >= size, 2 * (size - 1) - index, index)


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
        """Both, to images (N, C, H, W), uint8 or floats in [0, 1]; a new tensor like them."""
        names = [name for name in drawn if name not in ("flip", "shift")]
        return self.augment(self.weak(images, drawn), {name: drawn[name] for name in names})

    def masks(self, masks: Tensor, drawn: Mapping[str, np.ndarray]) -> Tensor:
        """What is known of each pixel, (N, K, H, W), moved as the images are; 0 where a pixel comes
        from outside. What only paints leaves it as it is, and so does a grey square."""
        return self.augment.masks(self.weak.masks(masks, drawn), drawn)
