"""RandAugment for a whole batch, every image with its own operations, as a Kornia augmentation."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from kornia.augmentation import GeometricAugmentationBase2D
from torch import Tensor

from pipeline.augment import pixels, rows
from pipeline.augment.checks import check_images, check_setting
from pipeline.augment.fixed import Tables
from pipeline.augment.fixed import apply_kinds as apply_fixed
from pipeline.augment.scale import MAX_BIN, OPS, SIGNED, kind_of
from pipeline.augment.view import View, numpy_generator, to_device
from pipeline.augment.warp import gather, index_map, pixel_matrix

PER_OP = 5  # uniform numbers per operation: which, sign, bin between two, and two for the noise


class RandAugment(View, GeometricAugmentationBase2D):
    """n of the fourteen operations per image, with replacement (Cubuk et al. 2020, 1909.13719).

    Args:
        n: operations per image, 1 or more, applied in the drawn order.
        m: magnitude on torchvision's scale, 0..30; if no whole number, each operation draws one
            of the two bins next to it.
        magnitude_std: standard deviation, in bins, of Gaussian noise on m; clipped to 0..30.
        cutout: side of a grey square (DeVries & Taylor 2017, 1708.04552) as a share of the
            shorter side, 0 (off) to 1; its centre is uniform, so part of it may lie outside.

    Raises:
        ValueError: a setting is out of range.

    Images are (N, C, H, W), uint8 or floating point in [0, 1]; floating point is rounded to 256
    levels and comes back in its dtype, without a gradient. Three channels are red, green, blue;
    of any other number, grey is the floored mean of all: Color does nothing to one channel, and
    AutoContrast and Equalize treat each channel by itself anyway. Pixels follow torchvision's
    v2 functions on uint8 tensors, nearest neighbour, filled with 0.
    """

    # the matrix is for boxes, key points and those who ask: pixels do not wait for it
    _compute_matrix_lazily = True

    def __init__(
        self, n: int = 2, m: float = 9, *, magnitude_std: float = 0.0, cutout: float = 0.0
    ) -> None:
        super().__init__(p=1.0, p_batch=1.0, same_on_batch=False, keepdim=False)
        check_setting("n", n, 1, math.inf, whole=True)
        check_setting("m", m, 0, MAX_BIN)
        check_setting("magnitude_std", magnitude_std, 0, MAX_BIN)
        check_setting("cutout", cutout, 0, 1)
        self.n, self.m, self.magnitude_std, self.cutout = n, m, magnitude_std, cutout
        self.flags = {"n": n, "m": m, "magnitude_std": magnitude_std, "cutout": cutout}
        self._tables: dict[tuple, Tables] = {}

    @property
    def bins(self) -> tuple[int, ...]:
        """The unsigned bins that can be drawn."""
        if self.magnitude_std:
            return tuple(range(MAX_BIN + 1))
        return tuple(sorted({math.floor(self.m), math.ceil(self.m)}))

    @property
    def width(self) -> int:
        return PER_OP * self.n + 2

    def read(self, uniform: np.ndarray) -> dict[str, np.ndarray]:
        """`kind` (num, n) int64; with cutout also `centre` (num, 2) in [0, 1), row and column."""
        per_op = uniform[:, : PER_OP * self.n].reshape(-1, self.n, PER_OP)
        which, sign, step, radius, turn = per_op.transpose(2, 0, 1)
        op = (which * len(OPS)).astype(np.int64)
        bins = self._bins(step, radius, turn)
        drawn = {"kind": kind_of(op, np.where(SIGNED[op] & (sign < 0.5), -bins, bins))}
        if self.cutout:
            drawn["centre"] = uniform[:, -2:].copy()
        return drawn

    def _bins(self, step: np.ndarray, radius: np.ndarray, turn: np.ndarray) -> np.ndarray:
        normal = np.sqrt(-2 * np.log1p(-radius)) * np.cos(2 * np.pi * turn)  # Box & Muller 1958
        magnitude = self.m + self.magnitude_std * normal
        # a step just below 1 must not round a whole m up to the next bin
        return np.clip(np.floor(magnitude + step * (1 - 1e-9)), 0, MAX_BIN).astype(np.int64)

    def forward(
        self,
        images: Tensor,
        params: Mapping[str, Any] | None = None,
        generator: np.random.Generator | torch.Generator | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Augment images with `params`, or else with a draw from `generator`; a new tensor.

        Args:
            images: (N, C, H, W), uint8 or floating point in [0, 1], on any device.
            params: what `draw` returned, arrays or tensors with first axis N.
            generator: of numpy, or of torch on the CPU; by default torch's global one.

        Raises:
            TypeError, ValueError: wrong dtype or shape; on a CPU also NaN or values outside
                [0, 1]. A GPU would have to be waited for: there NaN becomes 0, the range is cut.
        """
        check_images(images)
        if params is None:
            params = self.draw(numpy_generator(generator), len(images))
        if len(params["kind"]) != len(images):
            num = len(params["kind"])
            raise ValueError(f"params: were drawn for {num} images, there are {len(images)}")
        if images.dtype == torch.uint8:
            return self._augment(images, params)
        params = {name: torch.as_tensor(value) for name, value in params.items()}
        params.setdefault("forward_input_shape", torch.tensor(images.shape))  # Kornia's masks ask
        return super().forward(images, params=params, **kwargs)

    def _augment(self, images: Tensor, params: Mapping[str, Any]) -> Tensor:
        if images.device.type == "cpu":
            images = rows.apply_kinds(images, np.asarray(params["kind"]))
        else:
            images = self.fixed(images, to_device(params["kind"], images.device))
        if not self.cutout:
            return images
        return self.cut_out(images, to_device(params["centre"], images.device))

    def fixed(self, images: Tensor, kinds: Tensor) -> Tensor:
        """The operations in a fixed shape, nothing read back; no cutout.

        To compile it, or to capture it in a graph, call `tables` for the image size beforehand.

        Args: uint8 (N, C, H, W), and what `draw` calls `kind`, (N, n) int64, on one device.
        """
        tables = self.tables(images.shape[2], images.shape[3], images.device)
        return apply_fixed(images, kinds, tables)

    def masks(self, masks: Tensor, drawn: Mapping[str, Any]) -> Tensor:
        """What is known of each pixel, (N, K, H, W) on any device, moved as the images are that get
        what was drawn; 0 where a pixel comes from outside."""
        tables = self.tables(masks.shape[2], masks.shape[3], masks.device)
        for kind in to_device(drawn["kind"], masks.device).unbind(1):
            masks = gather(masks, tables.maps[tables.map_of[kind]][:, None].long())
        return masks

    def tables(self, height: int, width: int, device: torch.device) -> Tables:
        """The constants of `fixed` for images of a size, made once and kept."""
        key = (height, width, device)
        if key not in self._tables:
            self._tables[key] = Tables(height, width, self.bins, device)
        return self._tables[key]

    def cut_out(self, images: Tensor, centre: Tensor) -> Tensor:
        """The grey square alone, in a fixed shape: uint8 (N, C, H, W), centre (N, 2) in [0, 1)."""
        return pixels.cut_out(images, centre, round(self.cutout * min(images.shape[2:])))

    # Kornia's protocol: what its containers call

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """A draw from torch's global generator, as tensors on the CPU."""
        drawn = self.draw(numpy_generator(None), batch_shape[0])
        return {name: torch.from_numpy(value) for name, value in drawn.items()}

    def apply_transform(self, input: Tensor, params, flags, transform=None) -> Tensor:
        """Floats (N, C, H, W) in [0, 1] through 256 levels."""
        levels = input.nan_to_num(0.0).clamp(0, 1).mul(255).round().to(torch.uint8)
        return self._augment(levels, params).to(input.dtype) / 255

    def apply_transform_mask(self, input: Tensor, params, flags, transform=None) -> Tensor:
        """Masks (N, C, H, W) move as their images do; nothing else touches them."""
        for kind in np.asarray(params["kind"]).T.tolist():
            maps = np.stack([index_map(one, *input.shape[2:]) for one in kind])
            input = gather(input, to_device(maps, input.device)[:, None])
        return input

    def compute_transformation(self, input: Tensor, params, flags) -> Tensor:
        """(N, 3, 3) forward matrices of pixel coordinates (x, y, 1), operations composed."""
        matrices = np.tile(np.eye(3), (len(input), 1, 1))
        for kind in np.asarray(params["kind"]).T:
            kinds, row = np.unique(kind, return_inverse=True)
            table = np.stack([pixel_matrix(one, *input.shape[2:]) for one in kinds.tolist()])
            matrices = table[row] @ matrices
        return torch.from_numpy(matrices).to(input)
