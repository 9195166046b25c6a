"""RandAugment for a whole batch, every image with its own operations, as a Kornia augmentation."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from kornia.augmentation import GeometricAugmentationBase2D
from torch import Tensor

from pipeline.augment import rows
from pipeline.augment.checks import check_images, check_setting
from pipeline.augment.fixed import Tables, apply_kinds
from pipeline.augment.scale import MAX_BIN, OPS, SIGNED, kind_of
from pipeline.augment.view import View
from pipeline.augment.warp import pixel_matrix

GREY = 127  # of 0..255: near zero once an image is normalised, so a hole carries no contrast of its own


class RandAugment(View, GeometricAugmentationBase2D):
    """n operations per image, with replacement, of the fourteen of Cubuk et al. 2020 (arXiv:1909.13719).

    Args:
        n: operations per image, 1 or more, applied in the drawn order.
        m: magnitude on torchvision's scale, 0..30; between two bins, each operation draws one of them.
        magnitude_std: standard deviation, in bins, of Gaussian noise on m (clipped to 0..30).
        cutout: side of a grey square (DeVries & Taylor 2017, arXiv:1708.04552) as a share of the shorter side,
            0 (off) to 1; its centre is uniform over the image, so part of it may lie outside.

    Raises:
        ValueError: a setting is out of range.

    Images are (N, C, H, W), uint8 in 0..255 or floating point in [0, 1]; floating point is rounded to 256
    levels, and comes back in its dtype without a gradient. Any C: with three channels grey is luma, otherwise
    the floored mean of the channels, so with one channel Color does nothing and Contrast looks at that channel;
    AutoContrast and Equalize treat each channel by itself.
    """

    # the matrix is for boxes, key points and those who ask: the pixels do not wait for it
    _compute_matrix_lazily = True

    def __init__(
        self, n: int = 2, m: float = 9, *, magnitude_std: float = 0.0, cutout: float = 0.0
    ) -> None:
        super().__init__(p=1.0, p_batch=1.0, same_on_batch=False, keepdim=False)
        check_setting("n", n, 1, math.inf, whole=True)
        check_setting("m", m, 0, MAX_BIN)
        check_setting("magnitude_std", magnitude_std, 0, math.inf)
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
        return 5 * self.n + 2

    def read(self, uniform: np.ndarray) -> dict[str, np.ndarray]:
        """`kind` (num, n) int64, and with cutout `centre` (num, 2) float64 in [0, 1), row and column."""
        op, sign, step, radius, turn = (
            uniform[:, : 5 * self.n].reshape(-1, self.n, 5).transpose(2, 0, 1)
        )
        op = (op * len(OPS)).astype(np.int64)
        bins = self._draw_bins(step, radius, turn)
        signed = SIGNED[op] & (sign < 0.5)
        drawn = {"kind": kind_of(op, np.where(signed, -bins, bins))}
        if self.cutout:
            drawn["centre"] = uniform[:, -2:].copy()
        return drawn

    def _draw_bins(self, step: np.ndarray, radius: np.ndarray, turn: np.ndarray) -> np.ndarray:
        normal = np.sqrt(-2 * np.log1p(-radius)) * np.cos(2 * np.pi * turn)  # Box-Muller
        noisy = self.m + self.magnitude_std * normal
        return np.clip(np.floor(noisy + step * (1 - 1e-9)), 0, MAX_BIN).astype(np.int64)

    # --- Kornia's protocol ------------------------------------------------------------------------------

    def forward(
        self,
        images: Tensor,
        params: Mapping[str, Any] | None = None,
        generator: np.random.Generator | torch.Generator | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Augment images with `params` (what `draw` returned) or, without them, a draw from `generator`.

        Args:
            images: (N, C, H, W), uint8 or floating point in [0, 1], on any device.
            params: arrays or tensors by name, first axis N.
            generator: of numpy, or of torch on the CPU; by default torch's global one.

        Raises:
            TypeError, ValueError: wrong dtype or shape; on a CPU also NaN or a value outside [0, 1] (a GPU
                would have to be waited for: there NaN becomes 0 and the range is clipped).
        """
        check_images(images)
        if params is None:
            params = self.draw(numpy_generator(generator), len(images))
        if images.dtype == torch.uint8:
            return self._augment(images, params)
        params = {name: torch.as_tensor(value) for name, value in params.items()}
        return super().forward(images, params=params, **kwargs)

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        drawn = self.draw(numpy_generator(None), batch_shape[0])
        return {name: torch.from_numpy(value) for name, value in drawn.items()}

    def apply_transform(self, input: Tensor, params, flags, transform=None) -> Tensor:
        levels = input.nan_to_num(0.0).clamp(0, 1).mul(255).round().to(torch.uint8)
        return self._augment(levels, params).to(input.dtype) / 255

    def compute_transformation(self, input: Tensor, params, flags) -> Tensor:
        """(N, 3, 3) forward matrices of pixel coordinates (x, y, 1), all operations of an image composed."""
        height, width = input.shape[-2:]
        kinds = np.asarray(params["kind"])
        matrices = np.tile(np.eye(3), (len(kinds), 1, 1))
        for position in range(self.n):
            unique, inverse = np.unique(kinds[:, position], return_inverse=True)
            table = np.stack([pixel_matrix(kind, height, width) for kind in unique.tolist()])
            matrices = table[inverse] @ matrices
        return torch.from_numpy(matrices).to(input)

    # --- the pixels --------------------------------------------------------------------------------------

    def _augment(self, images: Tensor, params: Mapping[str, Any]) -> Tensor:
        if images.device.type == "cpu":
            return rows.apply_kinds(images, np.asarray(params["kind"]))
        return self.fixed(images, to_device(params["kind"], images.device))

    def fixed(self, images: Tensor, kinds: Tensor) -> Tensor:
        """The fixed-shape form: uint8 (N, C, H, W) and int64 kinds (N, n) on one device, nothing read back."""
        return apply_kinds(
            images, kinds, self.tables(images.shape[2], images.shape[3], images.device)
        )

    def tables(self, height: int, width: int, device: torch.device) -> Tables:
        """The constants of `fixed` for an image size, made at the first call and kept."""
        key = (height, width, device)
        if key not in self._tables:
            self._tables[key] = Tables(height, width, self.bins, device)
        return self._tables[key]


def numpy_generator(generator: np.random.Generator | torch.Generator | None) -> np.random.Generator:
    """A numpy generator, seeded where need be from torch's; never one that lives on a GPU."""
    if isinstance(generator, np.random.Generator):
        return generator
    if generator is not None and generator.device.type != "cpu":
        raise ValueError("generator: must live on the CPU, or every draw would wait for the device")
    return np.random.default_rng(int(torch.randint(2**63 - 1, (), generator=generator)))


def to_device(values: Any, device: torch.device) -> Tensor:
    """Copy host numbers to a device without waiting for it."""
    values = torch.as_tensor(values)
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)
