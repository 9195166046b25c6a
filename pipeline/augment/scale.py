"""The magnitude scale: fourteen operations, thirty-one bins, and what a bin means.

RandAugment, Cubuk et al. 2020, https://arxiv.org/abs/1909.13719, on torchvision's scale of bins
0..30 (the paper's own code has another scale, whose numbers do not carry over). A drawn operation
is one integer, its *kind*: which operation, at which signed bin. What hangs on it alone is a table.
"""

import math
from functools import cache

import numpy as np
import torch

OPS = (
    "Identity",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
)
OP = {name: index for index, name in enumerate(OPS)}
WARPS = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
BLENDS = ("Brightness", "Color", "Contrast", "Sharpness")
SIGNED = np.isin(OPS, WARPS + BLENDS)  # (14,) bool
MAX_BIN = 30
NUM_BINS = 2 * MAX_BIN + 1  # signed bins of one operation
NUM_KINDS = len(OPS) * NUM_BINS


def kind_of(op, bins):
    """Kind of operation `op` (index into OPS) at signed bin `bins` (-30..30); ints or arrays."""
    return op * NUM_BINS + bins + MAX_BIN


def split_kind(kind):
    """Operation index and signed bin of a kind; ints or arrays."""
    return kind // NUM_BINS, kind % NUM_BINS - MAX_BIN


@cache
def _bins(last: float) -> np.ndarray:
    # torch's linspace rounds in its own way, and a cut to whole pixels can hang on the last bit
    return torch.linspace(0.0, last, MAX_BIN + 1).numpy().astype(np.float64)


def shift_pixels(signed_bin: int, size: int) -> int:
    """Whole pixels that a translation moves along a side of `size` pixels, right or down."""
    return int(math.copysign(_bins(150.0 / 331.0 * size)[abs(signed_bin)], signed_bin))


def shear_slope(signed_bin: int) -> float:
    """Pixels of shift per pixel of distance from the top or left edge, -0.3..0.3."""
    return math.copysign(_bins(0.3)[abs(signed_bin)], signed_bin)


def angle_degrees(signed_bin: int) -> float:
    """Rotation in degrees, -30..30; positive turns counter-clockwise as displayed."""
    return math.copysign(_bins(30.0)[abs(signed_bin)], signed_bin)


def blend_factor(signed_bin: int) -> float:
    """Weight of the image against black, its grey, its mean grey or its blur, 0.1..1.9."""
    return 1.0 + math.copysign(_bins(0.9)[abs(signed_bin)], signed_bin)


def posterize_mask(bin_: int) -> int:
    """The bits that are kept, the highest 8 to 4 of eight."""
    return 256 - 2 ** round(abs(bin_) / (MAX_BIN / 4))


def solarize_threshold(bin_: int) -> int:
    """Values at or above it are inverted, 255..0; at bin 0 white alone turns black."""
    return math.ceil(255.0 - 8.5 * abs(bin_))


@cache
def parameters() -> dict[str, np.ndarray]:
    """Per kind: `weight` and `rest` of a blend (sum 1), the bit `mask`, the `threshold`."""
    bins = split_kind(np.arange(NUM_KINDS))[1].tolist()
    factors = [blend_factor(one) for one in bins]
    return {
        "weight": np.float32(factors),
        "rest": np.float32([1.0 - factor for factor in factors]),
        "mask": np.uint8([posterize_mask(one) for one in bins]),
        "threshold": np.int16([solarize_threshold(one) for one in bins]),
    }
