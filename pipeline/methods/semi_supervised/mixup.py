"""Mixup (Zhang et al. 2018, arXiv:1710.09412) as MixMatch folds it (Berthelot et al. 2019,
arXiv:1905.02249): an image keeps at least half of its mixture.

    v' = s v + (1 - s) v[partner],   s = max(b, 1 - b),   b ~ Beta(alpha, alpha) of each image

Shares and partners are drawn on the device by torch's default generator, which the training loop
seeds at every step.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Gamma


class Mixup(NamedTuple):
    """Which of N images are mixed, and how.

    Attributes:
        share: of the image in its own mixture (N,), in 0.5..1.
        partner: the other image of each, a permutation, int64 (N,).
    """

    share: Tensor
    partner: Tensor

    @classmethod
    def draw(cls, num: int, alpha: float, device: torch.device) -> "Mixup":
        """Of `num` images; the smaller `alpha` > 0, the nearer most shares are to 1."""
        # b = G / (G + G'); in logarithms, because G ~ Gamma(alpha) is below the least float for a
        # small alpha: there it is Gamma(alpha + 1) times U^(1 / alpha)
        shape = torch.full((2, num), alpha + 1, device=device)
        gammas = Gamma(shape, torch.ones_like(shape), validate_args=False).sample().log()
        gammas += torch.rand((2, num), device=device).log() / alpha
        share = (gammas[0] - gammas[1]).abs().sigmoid()
        return cls(share, torch.rand(num, device=device).argsort())

    def __call__(self, values: Tensor) -> Tensor:
        """What is mixed as the images are: floats (N, ...)."""
        share = self.share.view(-1, *[1] * (values.ndim - 1)).to(values.dtype)
        return torch.lerp(values[self.partner], values, share)
