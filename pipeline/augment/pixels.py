"""Operations on pixel values, each for K images at once with parameters of their own.

Images are uint8 (K, C, H, W), `values` the same as float32, parameters (K, 1, 1, 1). They follow
torchvision's arithmetic step by step, down to which product is rounded before which sum, so that a
truncation falls on the same side. No shape depends on data.
"""

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)  # weights of red, green, blue
GREY = 127  # of a hole: near 0 once normalised, so that it adds little contrast of its own


def to_bytes(values: Tensor) -> Tensor:
    """Truncate values in [0, 256) to uint8."""
    return values.to(torch.int16).to(torch.uint8)  # three times as quick on a CPU as in one step


def blend(values: Tensor, other: Tensor, weight: Tensor, rest: Tensor) -> Tensor:
    """values * weight + other * rest, clipped; takes `values` as working space."""
    return to_bytes(values.mul_(weight).addcmul_(other, rest).clamp_(0, 255))


def grey(values: Tensor) -> Tensor:
    """(K, 1, H, W): luma of three channels, the mean of any other number, floored."""
    if values.shape[1] != 3:
        return values.mean(1, keepdim=True).floor_()
    red, green, blue = values.split(1, 1)
    luma = (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])
    return luma.floor_()


def sharpen(values: Tensor, rest: Tensor) -> Tensor:
    """Away from the rounded mean of a pixel five times and its neighbours; works in `values`."""
    if min(values.shape[2:]) < 3:
        return to_bytes(values)
    column = (values[..., :-2, :] + values[..., 1:-1, :]).add_(values[..., 2:, :])
    inner = values[..., 1:-1, 1:-1]  # the rim stays as it is
    total = (column[..., :-2] + column[..., 1:-1]).add_(column[..., 2:]).add_(inner, alpha=4)
    difference = total.div_(13).round_().sub_(inner)
    inner.addcmul_(difference, rest).clamp_(0, 255)
    return to_bytes(values)


def posterize(images: Tensor, mask: Tensor) -> Tensor:
    """Keep the bits of the mask."""
    return images & mask


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert values at or above the threshold (int16)."""
    below = (images - threshold) >> 15  # -1 or 0; a comparison of bytes is slower on a CPU
    return images ^ below.to(torch.uint8).bitwise_not_()


def autocontrast(images: Tensor) -> Tensor:
    """Stretch every channel to 0..255; a channel of one value stays."""
    flat = images.flatten(2)
    low, high = (x.float()[..., None, None] for x in (flat.amin(-1), flat.amax(-1)))
    scale = torch.where(low == high, 1.0, (high - low) * (1.0 / 255))
    return to_bytes((images - torch.where(low == high, 0.0, low)).div_(scale))


def equalize(images: Tensor) -> Tensor:
    """Flatten every channel's histogram, as Pillow does it."""
    flat = images.flatten(2).long()  # (K, C, H * W)
    return equalize_table(flat).gather(2, flat).view(images.shape)


def equalize_table(flat: Tensor) -> Tensor:
    """(K, C, 256) uint8: the new value of each old one in (K, C, H * W) int64."""
    counts = _histogram(flat).float()  # exact below 2 ** 24 pixels, and divides ten times as fast
    below = counts.cumsum(-1) - counts
    top = counts.gather(-1, flat.amax(-1, keepdim=True))
    step = ((flat.shape[-1] - top) / 255).floor_()
    table = below.add_((step / 2).floor_()).div_(step.clamp(min=1)).clamp_(0, 255)
    unchanged = torch.arange(256.0, device=flat.device)
    return to_bytes(torch.where(step == 0, unchanged, table))


def _histogram(flat: Tensor) -> Tensor:
    num, channels, _ = flat.shape
    first = torch.arange(0, num * channels * 256, 256, device=flat.device).view(num, channels, 1)
    counts = torch.zeros(num * channels * 256, dtype=torch.int32, device=flat.device)
    ones = torch.ones(flat.numel(), dtype=torch.int32, device=flat.device)
    # in one dimension, where a GPU has a deterministic form for those who ask for it
    return counts.scatter_add_(0, (flat + first).flatten(), ones).view(num, channels, 256)


def cut_out(images: Tensor, centre: Tensor, side: int) -> Tensor:
    """Paint a grey square of `side` pixels about centre (K, 2), row and column in [0, 1)."""
    inside = [
        _span(centre[:, axis, None], side, size) for axis, size in enumerate(images.shape[2:])
    ]
    hole = (inside[0][:, None, :, None] & inside[1][:, None, None, :]).to(torch.uint8)
    return images * (1 - hole) + hole * GREY


def _span(centre: Tensor, side: int, size: int) -> Tensor:
    first = (centre * size).long() - side // 2
    place = torch.arange(size, device=centre.device)
    return (place >= first) & (place < first + side)
