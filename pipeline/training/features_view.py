"""The view that a training takes of features in the place of images."""

import numpy as np
import torch
from torch import Tensor

from pipeline.data.batches import Arrays


class EitherView:
    """An image's features, or those of its mirror image.

    Args:
        flip: whether both are there, and each is taken with probability one half.
    """

    def __init__(self, flip: bool):
        self.flip = flip

    def draw(self, rng: np.random.Generator, num: int) -> dict[str, np.ndarray]:
        """`mirrored` (num,) bool."""
        return {"mirrored": rng.random(num) < 0.5} if self.flip else {}

    def __call__(self, features: Tensor, drawn: Arrays) -> Tensor:
        """Features (N, V, F, 1, 1) of V = 1 or 2 views -> (N, F, 1, 1)."""
        if not self.flip:
            return features[:, 0]
        mirrored = torch.as_tensor(drawn["mirrored"])[:, None, None, None]
        return torch.where(mirrored, features[:, 1], features[:, 0])
