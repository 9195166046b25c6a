"""Affine operations as index maps: which pixel each pixel comes from, shared by all images of a kind."""

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from pipeline.augment.scale import OPS, angle_degrees, shear_slope, shift_pixels, split_kind


def inverse_matrix(kind: int, height: int, width: int) -> np.ndarray:
    """(2, 3) float64: where an output pixel comes from, in pixels about the image's centre."""
    op, signed_bin = split_kind(kind)
    name = OPS[op]
    matrix = np.eye(2, 3)
    if name == "ShearX":  # about the top left corner, hence the offset
        matrix[0, 1:] = shear_slope(signed_bin), shear_slope(signed_bin) * height / 2
    elif name == "ShearY":
        matrix[1, ::2] = shear_slope(signed_bin), shear_slope(signed_bin) * width / 2
    elif name == "TranslateX":
        matrix[0, 2] = -shift_pixels(signed_bin, width)
    elif name == "TranslateY":
        matrix[1, 2] = -shift_pixels(signed_bin, height)
    elif name == "Rotate":
        angle = math.radians(angle_degrees(signed_bin))
        matrix[:, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    return matrix


@lru_cache(maxsize=1024)
def index_map(kind: int, height: int, width: int) -> np.ndarray:
    """(H * W,) int64: flat index of the nearest source pixel, -1 where it lies outside the image.

    Half-way points are decided by float32 rounding (shears at bins 4, 12, 20 and 28 have them), so the map is
    sampled with the same torch kernel, on the same normalised grid, as torchvision samples the image with.
    """
    matrix = torch.from_numpy(inverse_matrix(kind, height, width)).float()
    scaled = matrix.T / torch.tensor([0.5 * width, 0.5 * height])
    x = torch.linspace((1.0 - width) * 0.5, (width - 1.0) * 0.5, width)
    y = torch.linspace((1.0 - height) * 0.5, (height - 1.0) * 0.5, height)
    base = torch.stack(
        [x.expand(height, -1), y[:, None].expand(-1, width), torch.ones(height, width)], -1
    )
    grid = base.view(1, -1, 3).bmm(scaled[None]).view(1, height, width, 2)
    numbers = torch.arange(1.0, height * width + 1).view(1, 1, height, width)
    sampled = F.grid_sample(
        numbers, grid, mode="nearest", padding_mode="zeros", align_corners=False
    )
    return sampled.flatten().long().numpy() - 1


def pixel_matrix(kind: int, height: int, width: int) -> np.ndarray:
    """(3, 3) float64: forward map of pixel coordinates (x, y, 1), pixel centres at integers."""
    to_centre = np.eye(3)
    to_centre[:2, 2] = -(width - 1) / 2, -(height - 1) / 2
    inverse = np.vstack([inverse_matrix(kind, height, width), [0.0, 0.0, 1.0]])
    return np.linalg.inv(to_centre) @ np.linalg.inv(inverse) @ to_centre
