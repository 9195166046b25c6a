"""Similarity-preserving distillation (Tung and Mori 2019, arXiv:1907.09682).

    L = CE + weight * sum over pairs of layers of 1/b^2 * || G_t - G ||_F^2
    G = rows of Q Q^T, each divided by its Euclidean length

Q (b, C H W) are the maps of the b images of a step, a row each, so that the student's may be of
another size than the teacher's. The paper compares the last layer that has places (the default)
with a weight of 3000.
"""

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from pipeline.data.batches import Part
from pipeline.methods.distillation.taught import OfLayers
from pipeline.networks.classifier import Output
from pipeline.training.learner import full


class SimilarityPreserving(OfLayers):
    """Similarity-preserving distillation (Tung and Mori 2019): images that are alike to the teacher
    are to be alike to the student.

    With any other.
    """

    class Options(OfLayers.Options):
        """Of similarity-preserving distillation."""

        weight: float = Field(3000.0, ge=0, le=1_000_000, description="of the loss")

    name = "similarity"

    def loss(self, batch: dict[str, Part], output: Output, taught: Output) -> Tensor:
        losses = [distance(*pair) for pair in self.maps(output, taught)]
        return self.options.weight * sum(losses)


def distance(maps: Tensor, theirs: Tensor) -> Tensor:
    """Between the likenesses of the same b images, (b, ...) and (b, ...): a number."""
    return (likeness(maps) - likeness(theirs)).square().mean()  # 1/b^2 of a sum of b^2


def likeness(maps: Tensor) -> Tensor:
    """Inner products of images, rows of length 1: (b, ...) -> (b, b)."""
    rows = full(maps).flatten(1)
    return F.normalize(rows @ rows.T, dim=1)
