"""The images of several tasks one behind the other, where they are held."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor


class Joined:
    """As `torch.cat(parts)`, of which nothing is copied but what is asked for.

    Args:
        parts: tensors of N1, N2, ... images of one shape.
    """

    def __init__(self, parts: Sequence[Tensor]):
        self._parts = parts
        self._starts = [0, *accumulate(map(len, parts))]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, rows: int | slice) -> Tensor:
        """One image, or those of a slice without a step."""
        if not isinstance(rows, slice):
            return self[rows : rows + 1][0]
        start, stop, _ = rows.indices(len(self))
        within = [
            part[max(0, start - first) : max(0, stop - first)]
            for part, first in zip(self._parts, self._starts)
        ]
        return torch.cat([some for some in within if len(some)] or within[:1])
