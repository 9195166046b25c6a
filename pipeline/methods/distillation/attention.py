"""Attention transfer (Zagoruyko and Komodakis 2017, arXiv:1612.03928).

    L = CE + weight / 2 * sum over pairs of layers of mean over images of || q - q_t ||_2
    q = a / ||a||_2,  a (H W) = sum over channels of A^2

The paper's activation-based maps, and its norm, not squared (its own code takes the mean square,
which is 1/(H W) of the squared norm: another weight, and less of a pull near the teacher). Where
the two maps differ in size, the larger is averaged down to the smaller.
"""

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from pipeline.data.batches import Part
from pipeline.methods.distillation.taught import OfLayers
from pipeline.networks.classifier import Output
from pipeline.training.learner import full


class AttentionTransfer(OfLayers):
    """Attention transfer (Zagoruyko and Komodakis 2017): looks where the teacher looks.

    With any other; the paper adds `kd`.
    """

    class Options(OfLayers.Options):
        """Of attention transfer."""

        weight: float = Field(1000.0, ge=0, le=1_000_000, description="beta, of half the distance")

    name = "attention"

    def loss(self, batch: dict[str, Part], output: Output, taught: Output) -> Tensor:
        losses = [distance(*pair).mean() for pair in self.maps(output, taught)]
        return self.options.weight / 2 * sum(losses)


def distance(maps: Tensor, theirs: Tensor) -> Tensor:
    """Between the attention of (N, C, H, W) and (N, C', H', W'), for each image (N,)."""
    size = [min(pair) for pair in zip(maps.shape[2:], theirs.shape[2:])]
    apart = attention(maps, size) - attention(theirs, size)
    return Length.apply(apart)


def attention(maps: Tensor, size: list[int]) -> Tensor:
    """Where activations are large, of length 1: (N, C, H, W) -> (N, h w), averaged to (h, w)."""
    seen = F.adaptive_avg_pool2d(full(maps).square().sum(1, keepdim=True), size)
    return F.normalize(seen.flatten(1), dim=1)


class Length(torch.autograd.Function):
    """The Euclidean length of rows (N, D), whose gradient at a row of zeros is 0, not no number."""

    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        length = rows.norm(dim=1)
        ctx.save_for_backward(rows, length)
        return length

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        rows, length = ctx.saved_tensors
        unit = torch.where(length[:, None] > 0, rows / length[:, None], torch.zeros_like(rows))
        return grad[:, None] * unit
