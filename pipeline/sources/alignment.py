"""Whether two pictures are one: one is laid over the other, and their fine detail compared.

Laid over by scale and shift along each axis, with a gain and an offset of the grey values, in least
squares (Lucas and Kanade 1981; Baker and Matthews 2004), from coarse to fine.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

COARSE, FINE = 16, 32  # sides of the thumbnails, in pixels
STEPS = 4  # of Gauss-Newton at each side
FARTHEST = 0.3  # change of scale, or shift in half sides
OVERLAP = 0.6  # of the area, at least
PROMISING = 0.5  # correlation of the detail at 16 pixels, from which on a pair is looked at closer
TILE = 8  # pixels of a side
TEXTURE = 4.0  # variance of the detail in a tile that counts, in squared levels of 255
TILES = 4  # that count, at least, of 16
LEAST = 0.7  # similarity of two images of one picture
WORST = 0.45  # mean of its lowest quarter of tiles, at least: the frame is not the picture
EVIDENCE = 6.5  # Fisher's z of the similarity, in standard errors
BLOCK = 512  # pairs at a time, which a core's cache holds


def agreement(grey: Tensor, pair: Tensor, mirrored: Tensor) -> Tensor:
    """How well the detail of pairs agrees, float32 (P,), 0..1; 0 = not the same picture.

    Args:
        grey: uint8 (N, 32, 32).
        pair: int64 (P, 2).
        mirrored: whether one of the two is to be mirrored, bool (P,).
    """
    results = torch.zeros(len(pair))
    for start in range(0, len(pair), BLOCK):
        part = slice(start, start + BLOCK)
        one, other = grey[pair[part]].float().unbind(1)
        one = torch.where(mirrored[part][:, None, None], one.flip(2), one)
        place, detail = _coarse(one, other)
        close = (detail > PROMISING).nonzero()[:, 0]
        if len(close) == 0:
            continue
        one, other, place = _larger_moves(one[close], other[close], place[close])
        results[start + close] = _similarity(one, align(one, other, place))
    return results


def _coarse(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Where `other` lies on `one` by small thumbnails, (P, 4), and how their detail correlates
    there, (P,). Tried from either side, as least squares may stop short from one of them."""
    still, moving = torch.cat([one, other]), torch.cat([other, one])
    still, moving = (avg_pool2d(image, FINE // COARSE) for image in (still, moving))
    laid = align(still, moving, torch.zeros(len(still), 4))
    there, back = laid.place.chunk(2)
    detail, turned = _correlation(still, laid).view(2, -1).max(0)
    return torch.where(turned[:, None] > 0, _back(back), there), detail


def _correlation(still: Tensor, laid: Laid) -> Tensor:
    """Of the detail, (P,)."""
    a, b = (_detail(image) * laid.inside for image in (still, laid.image))
    norm = (a.square().sum((1, 2)) * b.square().sum((1, 2))).sqrt()
    return (a * b).sum((1, 2)) / norm.clamp(min=1e-6)


def _back(place: Tensor) -> Tensor:
    """Where `one` lies on `other`, if `other` lies on `one` at this place, (P, 4)."""
    scale, shift = 1 + place[:, ::2], place[:, 1::2]
    return torch.stack([1 / scale - 1, -shift / scale], dim=2).flatten(1)


def _larger_moves(one: Tensor, other: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The pairs turned round where the first shows more of the scene: the second covers it then."""
    turned = (1 + place[:, ::2]).prod(1) > 1
    image = turned[:, None, None]
    one, other = torch.where(image, other, one), torch.where(image, one, other)
    return one, other, torch.where(turned[:, None], _back(place), place)


class Laid:
    """Images laid over others.

    Attributes:
        place: change of scale and shift along x, then along y, in half sides, (P, 4).
        image: (P, S, S).
        inside: 1 where there is an image, 0 beyond its border, (P, S, S).
    """

    def __init__(self, moving: Tensor, place: Tensor):
        self.place = place
        across, in_width = _interpolation(place[:, :2], moving.shape[2])
        down, in_height = _interpolation(place[:, 2:], moving.shape[1])
        self.image = down @ moving @ across.transpose(1, 2)
        self.inside = in_height[:, :, None] * in_width[:, None, :]


def _interpolation(place: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Linear interpolation along an axis as a matrix (P, S, S), and what is inside, (P, S)."""
    at = (1 + place[:, :1]) * _coordinates(side) + place[:, 1:]
    at = at * (side / 2) + (side - 1) / 2
    inside = ((at > -0.51) & (at < side - 0.49)).float()
    at = at.clamp(0, side - 1)
    return (1 - (at[:, :, None] - torch.arange(side)).abs()).clamp(min=0), inside


def _coordinates(side: int) -> Tensor:
    """Of pixel centres, in half sides from the middle."""
    return (torch.arange(side) - (side - 1) / 2) / (side / 2)


def align(still: Tensor, moving: Tensor, place: Tensor) -> Laid:
    """Lay `moving` over `still`, both (P, S, S), from `place` (P, 4) on."""
    for _ in range(STEPS):
        step = _step(still, Laid(moving, place))
        place = (place + step.clamp(-0.1, 0.1)).clamp(-FARTHEST, FARTHEST)
    return Laid(moving, place)


def _step(still: Tensor, laid: Laid) -> Tensor:
    """Of Gauss-Newton, (P, 4); gain and offset are solved for at once, and dropped."""
    side = still.shape[2]
    x = _coordinates(side)
    down, across = (g * (side / 2) for g in torch.gradient(laid.image, dim=(1, 2)))
    columns = [across * x, across, down * x[:, None], down, laid.image, torch.ones_like(down)]
    slopes = torch.stack(columns, dim=1).flatten(2)  # (P, 6, S * S)
    weighted = slopes * laid.inside.flatten(1)[:, None]
    square = weighted @ slopes.transpose(1, 2)
    damping = 1e-3 * square.diagonal(dim1=1, dim2=2) + 1e-6
    right = weighted @ (still - laid.image).flatten(1)[:, :, None]
    return torch.linalg.solve(square + torch.diag_embed(damping), right)[:, :4, 0]


def _similarity(still: Tensor, laid: Laid) -> Tensor:
    """Mean correlation of the detail over the tiles with texture, (P,); 0 = too little for one
    picture. A strong edge, of a frame say, counts no more than what is in the other tiles."""
    known = (avg_pool2d(laid.inside, 5, 1, 2) > 0.99).float()  # not within 2 pixels of a border
    a, b = (_detail(image) * known for image in (still, laid.image))
    product, of_a, of_b = (avg_pool2d(values, TILE).flatten(1) for values in (a * b, a * a, b * b))
    gain = of_a.mean(1, keepdim=True) / of_b.mean(1, keepdim=True).clamp(min=1e-6)
    stronger = torch.maximum(of_a, of_b * gain)
    share = (product * gain.sqrt() / stronger).masked_fill(stronger <= TEXTURE, torch.nan)
    num = share.isfinite().sum(1)
    similarity = share.nanmean(1)
    least = (EVIDENCE / _freedom(a, b).sqrt()).tanh().clamp(min=LEAST)
    same = (similarity >= least) & (_worst_quarter(share) >= WORST)
    same &= (num >= TILES) & (laid.inside.mean((1, 2)) > OVERLAP)
    return torch.where(same, similarity.clamp(max=1), 0)


def _worst_quarter(share: Tensor) -> Tensor:
    """The mean of the lowest quarter of the values of each row, but for those that are `nan`."""
    lowest, num = share.sort(1).values, share.isfinite().sum(1, keepdim=True)  # nan comes last
    return lowest.masked_fill(torch.arange(share.shape[1]) >= (num + 3) // 4, torch.nan).nanmean(1)


def _detail(image: Tensor) -> Tensor:
    """What differs from the mean of 5x5 pixels around."""
    return image - avg_pool2d(image, 5, 1, 2, count_include_pad=False)


def _freedom(a: Tensor, b: Tensor) -> Tensor:
    """Of how many independent numbers a correlation of two images is one, (P,): by Bartlett's
    formula from their spectra, of which one half mirrors the other."""
    a, b = (torch.fft.fft2(image).abs().square().flatten(1) for image in (a, b))
    return a.sum(1) * b.sum(1) / (a * b).sum(1).clamp(min=1e-6) / 2
