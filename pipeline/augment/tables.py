"""Point-wise operations as tables: one output value for each of the 256 input values."""

from functools import cache

import numpy as np

from pipeline.augment.scale import (
    BLENDS,
    NUM_BINS,
    NUM_KINDS,
    OP,
    OPS,
    blend_factor,
    posterize_bits,
    solarize_threshold,
    split_kind,
)

LUMA = np.array([0.2989, 0.587, 0.114], dtype=np.float32)  # weights of red, green, blue
VALUES = np.arange(256, dtype=np.float32)


@cache
def blend_weights() -> np.ndarray:
    """(NUM_KINDS, 2) float32: weight of the image and of its degenerate; (1, 0) where a kind blends nothing."""
    weights = np.tile(np.float32([1.0, 0.0]), (NUM_KINDS, 1))
    for name in BLENDS:
        for row in range(OP[name] * NUM_BINS, (OP[name] + 1) * NUM_BINS):
            factor = blend_factor(split_kind(row)[1])
            weights[row] = factor, 1.0 - factor
    return weights


def _table(kind: int) -> np.ndarray:
    op, signed_bin = split_kind(kind)
    values = np.arange(256)
    if OPS[op] == "Brightness":
        return np.clip(VALUES * np.float32(blend_factor(signed_bin)), 0, 255)
    if OPS[op] == "Posterize":
        return values & (256 - 2 ** (8 - posterize_bits(signed_bin)))
    if OPS[op] == "Solarize":
        return np.where(values >= solarize_threshold(signed_bin), 255 - values, values)
    return values


@cache
def value_tables() -> np.ndarray:
    """(NUM_KINDS, 256) uint8: tables of the kinds that need no look at the image, identity for all others."""
    return np.stack([_table(kind).astype(np.uint8) for kind in range(NUM_KINDS)])
