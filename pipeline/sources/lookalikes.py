"""Which images are worth a close comparison: by a short description of each.

A description holds an image's coarse light and colour, without its brightness and contrast, and is
whitened by the statistics of the images at hand, so that what they all share (a layout, a sky above
a ground) counts little. Two crops of one picture still agree, and few other pairs do.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate, normalize

SIDE = 32  # of the thumbnails that are compared in detail, in pixels
LIGHT, COLOUR = 7, 4  # sides of the grids that a description is read from
SHRINKAGE = 0.5  # of the variances towards their mean
PRIOR = 100  # images that the statistics of a small set are mixed with, of equal variances
LOW = 0.5  # cosine of two descriptions, below which a pair is not looked at
NEAREST = 10  # lookalikes of an image
BLOCK = 1 << 24  # cosines in memory at a time: freed at once, as smaller blocks are not


class Descriptors(NamedTuple):
    """Of N images, of unit length, float32 (N, D)."""

    plain: Tensor
    mirrored: Tensor  # of each one's mirror image


def thumbnails(pieces: Iterable[np.ndarray]) -> tuple[Tensor, Descriptors]:
    """What the comparison needs of images, which come some at a time, uint8 (n, C, H, W).

    Returns:
        grey thumbnails, uint8 (N, SIDE, SIDE), and descriptors.
    """
    grey, plain, mirrored = [], [], []
    for piece in pieces:
        small = torch.from_numpy(piece)
        if small.shape[2:] != (SIDE, SIDE):
            small = interpolate(small, size=(SIDE, SIDE), mode="bilinear", antialias=True)
        grey.append(small.float().mean(1).round().byte())
        plain.append(_described(small))
        mirrored.append(_described(small.flip(3)))
    return torch.cat(grey), _whitened(Descriptors(torch.cat(plain), torch.cat(mirrored)))


def _described(small: Tensor) -> Tensor:
    """Light on a fine grid, about its mean, and colour on a coarse one; of unit length."""
    small = small.float()
    light = small.mean(1, keepdim=True)
    grid = adaptive_avg_pool2d(light, LIGHT).flatten(1)
    grid = (grid - grid.mean(1, keepdim=True)) / LIGHT
    colour = adaptive_avg_pool2d(small - light, COLOUR).flatten(1) / COLOUR
    return normalize(torch.cat([grid, colour], dim=1), dim=1)


def _whitened(described: Descriptors) -> Descriptors:
    plain = described.plain
    num, size = plain.shape
    mean = plain.sum(0) / (num + PRIOR)
    centred = plain - mean
    covariance = (centred.T @ centred + PRIOR / size * torch.eye(size)) / (num + PRIOR)
    variance, axes = torch.linalg.eigh(covariance)
    whiten = axes / (variance.clamp(min=0) + SHRINKAGE * variance.mean()).sqrt()
    return Descriptors(*(normalize((one - mean) @ whiten, dim=1) for one in described))


def lookalikes(descriptors: Descriptors, of: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs i < j with one image of interest at least, int64 (P, 2), and whether one of the two is
    to be mirrored, bool (P,); in order, without repeats.

    Args:
        of: which images are of interest, bool (N,).
    """
    asked, found = of.nonzero()[:, 0], []
    for mirror, queries in enumerate(descriptors):
        for places in asked.split(max(1, BLOCK // len(of))):
            one, other = _nearest(queries[places], places, descriptors.plain)
            kind = torch.full_like(one, mirror)
            found.append(torch.stack([torch.minimum(one, other), torch.maximum(one, other), kind]))
    unique = torch.unique(torch.cat(found, dim=1), dim=1)
    return unique[:2].T.contiguous(), unique[2].bool()


def _nearest(queries: Tensor, places: Tensor, plain: Tensor) -> tuple[Tensor, Tensor]:
    """The images at `places` and the nearest of the others, a pair of places for each."""
    cosine = queries @ plain.T
    cosine[torch.arange(len(places)), places] = -1
    value, other = cosine.topk(min(NEAREST, len(plain) - 1))
    near = value > LOW
    return places[:, None].expand_as(other)[near], other[near]
