"""Operations on pixel values, each for K images at once with parameters of their own.

Images are uint8 (K, C, H, W), `values` the same numbers as float32, parameters (K, 1, 1, 1). Every
function follows torchvision's arithmetic step by step, down to which product is rounded before which
sum, so that a truncation falls on the same side. No shape depends on data.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

LUMA = (0.2989, 0.587, 0.114)  # weights of red, green, blue


def to_bytes(values: Tensor) -> Tensor:
    """Truncate values in [0, 256) to uint8."""
    if values.device.type == "cpu":  # through int32, which is twice as quick as straight to a byte
        values = values.to(torch.int32)
    return values.to(torch.uint8)


def blend(values: Tensor, other: Tensor, weight: Tensor, rest: Tensor) -> Tensor:
    """values * weight + other * rest, clipped."""
    return to_bytes(torch.addcmul(values * weight, other, rest).clamp_(0, 255))


def grey(values: Tensor) -> Tensor:
    """(K, 1, H, W): luma of three channels, the mean of any other number, floored."""
    if values.shape[1] != 3:
        return values.mean(1, keepdim=True).floor_()
    red, green, blue = values.split(1, 1)
    luma = (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])
    return luma.floor_()


def sharpen(values: Tensor, rest: Tensor) -> Tensor:
    """Away from (or towards) the rounded mean of a pixel five times and its eight neighbours."""
    if min(values.shape[2:]) < 3:
        return to_bytes(values)
    inner = values[..., 1:-1, 1:-1]
    total = F.avg_pool2d(values, 3, stride=1, divisor_override=1).add_(inner, alpha=4)
    difference = F.pad(total.div_(13).round_().sub_(inner), (1, 1, 1, 1))  # the rim stays
    return to_bytes(torch.addcmul(values, difference, rest).clamp_(0, 255))


def posterize(images: Tensor, mask: Tensor) -> Tensor:
    """Keep the bits of the mask."""
    return images & mask


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert values at or above the threshold."""
    return images ^ (images >= threshold).to(torch.uint8).neg_()


def autocontrast(values: Tensor) -> Tensor:
    """Stretch every channel to 0..255; a channel of one value stays."""
    flat = values.flatten(2)
    low, high = flat.amin(-1)[..., None, None], flat.amax(-1)[..., None, None]
    scale = torch.where(low == high, 1.0, (high - low) * (1.0 / 255))
    return to_bytes((values - torch.where(low == high, 0.0, low)).div_(scale))


def equalize(images: Tensor) -> Tensor:
    """Flatten every channel's histogram, as Pillow does it."""
    flat = images.flatten(2).long()  # (K, C, H * W)
    return equalize_table(flat).gather(2, flat).to(torch.uint8).view(images.shape)


def equalize_table(flat: Tensor) -> Tensor:
    """(K, C, 256) int32 in 0..255: the new value of each old one in (K, C, H * W) int64."""
    counts = _histogram(flat)
    below = counts.cumsum(-1, dtype=torch.int32) - counts
    top = counts.gather(-1, flat.amax(-1, keepdim=True))
    step = (flat.shape[-1] - top).div_(255, rounding_mode="floor")
    table = (below + step.div(2, rounding_mode="floor")).div_(step.clamp(min=1), rounding_mode="floor")
    unchanged = torch.arange(256, dtype=torch.int32, device=flat.device)
    return torch.where(step == 0, unchanged, table.clamp_(0, 255))


def _histogram(flat: Tensor) -> Tensor:
    num, channels, _ = flat.shape
    first = torch.arange(0, num * channels * 256, 256, device=flat.device).view(num, channels, 1)
    counts = torch.zeros(num * channels * 256, dtype=torch.int32, device=flat.device)
    ones = torch.ones((), dtype=torch.int32, device=flat.device).expand(flat.numel())
    # one dimension: a GPU then has a deterministic form when it is asked for
    return counts.scatter_add_(0, (flat + first).flatten(), ones).view(num, channels, 256)
