"""Relational knowledge distillation (Park et al. 2019, arXiv:1904.05068).

    L = CE + distance * mean over pairs i != j of h(d_ij, d_ij of the teacher)
           + angle * mean over triples i, j, k, all different, of h(c_ijk, c_ijk of the teacher)

d_ij is the distance of two images' features over the mean distance of all pairs, c_ijk the cosine
of the angle at j between i and k, h the Huber loss with its corner at 1. Features are those that
the heads stand on; the two networks' may differ in number. The paper's weights for classification
are 25 and 50. What is undefined where two images have the same features counts as 0. Triples are
b^3, so of a larger batch they are those of its first 128 images.
"""

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from pipeline.core.block import Block
from pipeline.data.batches import Part
from pipeline.methods.distillation.taught import Taught
from pipeline.networks.classifier import Output
from pipeline.training.learner import full

MOST = 128  # images whose angles are compared


class RelationalDistillation(Taught):
    """Relational knowledge distillation (Park et al. 2019): images lie to one another as they do
    for the teacher, in distances and angles.

    With any other.
    """

    class Options(Block):
        """Of relational knowledge distillation."""

        distance: float = Field(25.0, ge=0, le=1_000_000, description="weight of the distances")
        angle: float = Field(50.0, ge=0, le=1_000_000, description="weight of the angles")

    name = "relational"

    def loss(self, batch: dict[str, Part], output: Output, taught: Output) -> Tensor:
        mine, theirs = full(output.features), full(taught.features)
        total = mine.new_zeros(())
        if self.options.distance:
            total = total + self.options.distance * huber(distances(mine), distances(theirs))
        if self.options.angle:
            total = total + self.options.angle * huber(angles(mine[:MOST]), angles(theirs[:MOST]))
        return total


def huber(mine: Tensor, theirs: Tensor) -> Tensor:
    """The mean Huber loss with its corner at 1."""
    return F.smooth_l1_loss(mine, theirs)


def distances(features: Tensor) -> Tensor:
    """Of all pairs of different images over their mean, (b, F) -> (b (b - 1),); zeros where all
    are one."""
    between = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    apart = ~torch.eye(len(features), dtype=torch.bool, device=features.device)
    pairs = between.masked_select(apart)
    return pairs / pairs.mean().clamp_min(torch.finfo(pairs.dtype).tiny)


def angles(features: Tensor) -> Tensor:
    """Cosines at j between i and k, of all triples of different images, (b, F) -> (b^3 - 3 b^2 +
    2 b,)."""
    num = len(features)
    # row j: unit vectors from j to all others
    units = F.normalize(features[None] - features[:, None], dim=2)
    cosines = units @ units.transpose(1, 2)  # (j, i, k)
    same = torch.eye(num, dtype=torch.bool, device=features.device)
    triples = ~(same[:, :, None] | same[:, None, :] | same[None])
    return cosines.masked_select(triples)
