"""Affine operations as index maps: where each pixel comes from, shared by all images of a kind."""

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.augment.scale import (
    NUM_BINS,
    OP,
    OPS,
    WARPS,
    angle_degrees,
    shear_slope,
    shift_pixels,
    split_kind,
)

Rectangle = tuple[slice, slice]  # rows, columns


def inverse_matrix(kind: int, height: int, width: int) -> np.ndarray:
    """(2, 3) float64: where an output pixel comes from, in pixels from the image's centre."""
    op, signed_bin = split_kind(kind)
    name = OPS[op]
    matrix = np.eye(2, 3)
    if name == "ShearX":  # about the top left corner, hence the offset
        matrix[0, 1:] = shear_slope(signed_bin) * np.array([1.0, height / 2])
    elif name == "ShearY":
        matrix[1, ::2] = shear_slope(signed_bin) * np.array([1.0, width / 2])
    elif name == "TranslateX":
        matrix[0, 2] = -shift_pixels(signed_bin, width)
    elif name == "TranslateY":
        matrix[1, 2] = -shift_pixels(signed_bin, height)
    elif name == "Rotate":
        angle = math.radians(angle_degrees(signed_bin))
        sine, cosine = math.sin(angle), math.cos(angle)
        matrix[:, :2] = [[cosine, -sine], [sine, cosine]]
    return matrix


@lru_cache(maxsize=128)  # at 224x224 a map is 400 kB; a shear is kept as its rectangles
def index_map(kind: int, height: int, width: int) -> np.ndarray:
    """(H * W,) int64: flat index of the nearest source pixel, -1 where it lies outside the image.

    Half-way points are decided by float32 rounding (shears at bins 4, 12, 20 and 28 have them), so
    the map is sampled by the same kernel, on the same grid, as torchvision samples the image.
    """
    matrix = torch.from_numpy(inverse_matrix(kind, height, width)).float()
    scaled = matrix.T / torch.tensor([0.5 * width, 0.5 * height])
    x = torch.linspace((1.0 - width) * 0.5, (width - 1.0) * 0.5, width).expand(height, -1)
    y = torch.linspace((1.0 - height) * 0.5, (height - 1.0) * 0.5, height)[:, None].expand_as(x)
    base = torch.stack([x, y, torch.ones_like(x)], -1)
    grid = base.view(1, -1, 3).bmm(scaled[None]).view(1, height, width, 2)
    number = torch.arange(1.0, height * width + 1).view(1, 1, height, width)
    sampled = F.grid_sample(number, grid, "nearest", "zeros", align_corners=False)
    return sampled.flatten().long().numpy() - 1


@lru_cache(maxsize=8)
def all_maps(height: int, width: int) -> Tensor:
    """(kinds up to the last warp, H * W) int64: every map of an image size, by kind."""
    num = (OP[WARPS[-1]] + 1) * NUM_BINS
    return torch.from_numpy(np.stack([index_map(kind, height, width) for kind in range(num)]))


def gather(images: Tensor, source: Tensor) -> Tensor:
    """Pixels (N, C, H, W) from where index maps say, broadcast to (N, C, H * W); 0 from outside."""
    flat = images.flatten(2)
    moved = flat.gather(2, source.clamp(min=0).expand_as(flat))
    return moved.mul_((source >= 0).to(images.dtype)).view(images.shape)


@lru_cache(maxsize=1024)
def blocks(kind: int, height: int, width: int) -> tuple[tuple[Rectangle, Rectangle], ...] | None:
    """The map as rectangles (target, source) that move as one; None where it is no such thing.

    Translations are one rectangle, shears a few: copying them is ten times as quick as a gather.
    """
    source = index_map(kind, height, width).reshape(height, width)
    row, column = np.divmod(source, width)
    inside = source >= 0
    if not (inside & (row != np.arange(height)[:, None])).any():
        return _rectangles(np.where(inside, column, -1), by_rows=True)
    if not (inside & (column != np.arange(width))).any():
        return _rectangles(np.where(inside, row, -1).T, by_rows=False)
    return None


def _rectangles(along: np.ndarray, *, by_rows: bool):
    """From (lines, size): where along its line each pixel comes from, -1 for outside."""
    size = along.shape[1]
    shifts = np.where(
        (along >= 0).any(1), (along - np.arange(size)).max(1, where=along >= 0, initial=-size), size
    )
    moved = np.arange(size) + shifts[:, None]
    if not np.array_equal(np.where((moved >= 0) & (moved < size), moved, -1), along):
        return None  # a half-way line, whose pixels do not all round to one side
    edges = [0, *(np.flatnonzero(np.diff(shifts)) + 1).tolist(), len(shifts)]
    pairs = []
    for first, last in zip(edges, edges[1:]):
        lines, shift = slice(first, last), int(shifts[first])
        target = slice(max(0, -shift), min(size, size - shift))
        source = slice(max(0, shift), min(size, size + shift))
        pairs.append(
            ((lines, target), (lines, source)) if by_rows else ((target, lines), (source, lines))
        )
    return tuple(pairs)


def pixel_matrix(kind: int, height: int, width: int) -> np.ndarray:
    """(3, 3) float64: forward map of pixel coordinates (x, y, 1), pixel centres at integers."""
    to_centre = np.eye(3)
    to_centre[:2, 2] = -(width - 1) / 2, -(height - 1) / 2
    inverse = np.vstack([inverse_matrix(kind, height, width), [0.0, 0.0, 1.0]])
    return np.linalg.inv(to_centre) @ np.linalg.inv(inverse) @ to_centre
