"""RandAugment in a fixed shape: every image walks through every family, and its kind chooses what it keeps.

No shape and no branch depends on data, nothing is read back: a GPU runs it without a synchronisation, and it can
be compiled or captured in a graph. On a GPU the waste is small change; a CPU prefers `pipeline.augment.rows`.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.augment.scale import NUM_BINS, NUM_KINDS, OP, WARPS
from pipeline.augment.tables import LUMA, blend_weights, value_tables
from pipeline.augment.warp import index_map


class Tables:
    """What depends on kinds and image size alone, kept on the device.

    Args: height and width in pixels; the bins (0..30) that can be drawn; the device.
    """

    def __init__(self, height: int, width: int, bins: tuple[int, ...], device: torch.device):
        identity = np.arange(height * width)
        maps, rows = [identity], np.zeros(NUM_KINDS, dtype=np.int64)
        for name in WARPS:
            for signed_bin in sorted({sign * one for one in bins for sign in (-1, 1)}):
                kind = OP[name] * NUM_BINS + signed_bin + NUM_BINS // 2
                rows[kind] = len(maps)
                maps.append(index_map(kind, height, width))
        self.map_rows = torch.from_numpy(rows).to(device)
        self.maps = torch.from_numpy(np.stack(maps)).to(device, torch.int32)  # (R, H * W)
        self.weights = torch.from_numpy(blend_weights()).to(device)
        self.values = torch.from_numpy(value_tables()).to(device)
        self.luma = torch.from_numpy(LUMA).to(device)


def apply_kinds(images: Tensor, kinds: Tensor, tables: Tables) -> Tensor:
    """Apply kinds (N, n), in order of the second axis, to uint8 images (N, C, H, W); uint8 of that shape."""
    for position in range(kinds.shape[1]):
        images = _apply_one(images, kinds[:, position], tables)
    return images


def _apply_one(images: Tensor, kind: Tensor, tables: Tables) -> Tensor:
    images = _warp(images, tables.maps[tables.map_rows[kind]])
    op = (kind // NUM_BINS).view(-1, 1, 1)
    weights = tables.weights[kind].view(-1, 2, 1, 1, 1).unbind(1)  # two of (N, 1, 1, 1)
    values = images.float()
    grey = _grey(values, tables.luma)
    table = tables.values[kind][:, None].expand(-1, images.shape[1], -1)  # (N, C, 256)
    flat = images.flatten(2).long()
    table = torch.where(op == OP["Contrast"], _contrast(grey, weights), table)
    table = torch.where(op == OP["AutoContrast"], _autocontrast(values), table)
    table = torch.where(op == OP["Equalize"], _equalize(flat), table)
    looked_up = table.gather(2, flat).view(images.shape)
    op = op[..., None]
    colored = torch.where(op == OP["Color"], _blend(values, grey, weights), looked_up)
    return torch.where(op == OP["Sharpness"], _sharpen(values, weights), colored)


def _warp(images: Tensor, source: Tensor) -> Tensor:
    source = source[:, None].expand(-1, images.shape[1], -1).long()  # (N, C, H * W)
    warped = images.flatten(2).gather(2, source.clamp(min=0))
    return torch.where(source >= 0, warped, 0).view(images.shape).to(torch.uint8)


def _blend(values: Tensor, other: Tensor, weights) -> Tensor:
    return torch.addcmul(values * weights[0], other, weights[1]).clamp(0, 255).to(torch.uint8)


def _grey(values: Tensor, luma: Tensor) -> Tensor:
    if values.shape[1] != 3:
        return values.mean(1, keepdim=True).floor()
    red, green, blue = values.unbind(1)
    return ((red * luma[0] + green * luma[1]) + blue * luma[2]).floor()[:, None]


def _contrast(grey: Tensor, weights) -> Tensor:
    values = torch.arange(256.0, device=grey.device).view(1, 1, 1, -1)
    return _blend(values, grey.mean((1, 2, 3), keepdim=True), weights)[:, :, 0]


def _autocontrast(values: Tensor) -> Tensor:
    low, high = values.aminmax(dim=-1)[0].amin(-1), values.amax((2, 3))
    flat = (low == high)[..., None]
    scale = torch.where(flat, 1.0, ((high - low) * (1.0 / 255))[..., None])
    low = torch.where(flat, 0.0, low[..., None])
    inputs = torch.arange(256.0, device=values.device)
    return ((inputs - low) / scale).clamp(0, 255).to(torch.uint8)


def _equalize(flat: Tensor) -> Tensor:
    num, channels, pixels = flat.shape
    offsets = torch.arange(num * channels, device=flat.device).view(num, channels, 1) * 256
    counts = torch.zeros(num * channels * 256, dtype=torch.int32, device=flat.device)
    ones = torch.ones((), dtype=torch.int32, device=flat.device).expand(flat.numel())
    counts = counts.scatter_add(0, (flat + offsets).flatten(), ones).view(num, channels, 256)
    below = counts.cumsum(-1)
    top = counts.gather(-1, flat.amax(-1, keepdim=True))
    step = (pixels - top).div(255, rounding_mode="floor")
    table = (below - counts + step.div(2, rounding_mode="floor")).div(
        step.clamp(min=1), rounding_mode="floor"
    )
    identity = torch.arange(256, device=flat.device).expand_as(table)
    return torch.where(step == 0, identity, table.clamp(0, 255)).to(torch.uint8)


def _sharpen(values: Tensor, weights) -> Tensor:
    if min(values.shape[2:]) < 3:
        return values.to(torch.uint8)
    inner = values[..., 1:-1, 1:-1]
    total = F.avg_pool2d(values, 3, stride=1, divisor_override=1) + 4 * inner
    difference = F.pad((total / 13).round() - inner, (1, 1, 1, 1))  # the rim is not blurred
    return torch.addcmul(values, difference, weights[1]).clamp(0, 255).to(torch.uint8)
