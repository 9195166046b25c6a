"""Logit matching (Ba and Caruana 2014, arXiv:1312.6184).

    L = CE + weight * 1/2 * mean over images and classes of (z - z_t)^2

Logits as they are, not centred: their level, which no probability depends on, is learnt as well.
An ensemble has the mean of its members' logits here.
"""

from pydantic import Field
from torch import Tensor

from pipeline.core.block import Block
from pipeline.data.batches import Part
from pipeline.methods.distillation.taught import Taught
from pipeline.networks.classifier import Output
from pipeline.training.learner import full


class LogitMatching(Taught):
    """Logit matching (Ba and Caruana 2014): learns the teacher's logits.

    With any other; `kd` at a high temperature is nearly the same, on centred logits.
    """

    class Options(Block):
        """Of logit matching."""

        weight: float = Field(
            1.0, ge=0, le=1000, description="of half the mean squared difference of the logits"
        )

    name = "logits"

    def loss(self, batch: dict[str, Part], output: Output, taught: Output) -> Tensor:
        return self.options.weight * distance(output.logits, taught.logits)


def distance(logits: Tensor, theirs: Tensor) -> Tensor:
    """Half the mean squared difference of logits (N, C)."""
    return (full(logits) - full(theirs)).square().mean() / 2
