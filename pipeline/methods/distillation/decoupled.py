"""Decoupled knowledge distillation (Zhao et al. 2022, arXiv:2203.08679).

    L = CE + T^2 * (alpha * TCKD + beta * NCKD)
    TCKD = KL between (p_y, 1 - p_y) of the teacher and of the student
    NCKD = KL between their softmaxes over all classes but y

at temperature T. With alpha 1 and beta 1 - p_y of the teacher it would be Hinton's loss: there what
the teacher knows of other classes counts the less the surer it is. y is the label; of an image
without one, the teacher's first class. `ramp_steps` raises the loss linearly from 0, as the paper
does for its first 20 epochs.
"""

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from pipeline.core.block import Block
from pipeline.data.batches import Part
from pipeline.data.kinds import CLASSIFICATION
from pipeline.methods.distillation.kd import divergence
from pipeline.methods.distillation.taught import Taught
from pipeline.networks.classifier import Output
from pipeline.training.learner import full, places


class DecoupledDistillation(Taught):
    """Decoupled knowledge distillation (Zhao et al. 2022): weighs what the teacher knows of the
    other classes apart from how sure it is of the label.

    With any method that compares inner layers.
    """

    class Options(Block):
        """Of decoupled knowledge distillation."""

        alpha: float = Field(1.0, ge=0, le=1000, description="weight of the label against all else")
        beta: float = Field(8.0, ge=0, le=1000, description="weight of the other classes' shares")
        temperature: float = Field(4.0, gt=0, le=1000, description="softens both answers")
        ramp_steps: int = Field(
            0, ge=0, le=10_000_000, description="steps in which the loss rises from 0"
        )

    name = "decoupled"
    kinds = (CLASSIFICATION,)

    @property
    def capturable(self) -> bool:
        """Not where the weight changes from step to step."""
        return not self.options.ramp_steps

    def loss(self, batch: dict[str, Part], output: Output, taught: Output) -> Tensor:
        temperature = self.options.temperature
        mine = F.log_softmax(full(output.logits) / temperature, dim=1)
        theirs = self.teaching.log_probs(taught, temperature)
        of_label, of_others = decoupled(mine, theirs, labels(batch, theirs))
        both = self.options.alpha * of_label + self.options.beta * of_others
        risen = min(1.0, (self.step + 1) / max(1, self.options.ramp_steps))
        return risen * temperature**2 * both.mean()


def decoupled(mine: Tensor, theirs: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """TCKD and NCKD of log-probabilities (N, C), for each image (N,), (N,).

    Args:
        label: int64 (N,).
    """
    chosen = F.one_hot(label, mine.shape[1]).bool()
    return divergence(of_two(mine, chosen), of_two(theirs, chosen)), divergence(
        others(mine, chosen), others(theirs, chosen)
    )


def of_two(log_probs: Tensor, chosen: Tensor) -> Tensor:
    """log p of the class chosen and of all others together, (N, 2)."""
    rest = log_probs.masked_fill(chosen, float("-inf")).logsumexp(1)
    return torch.stack([log_probs[chosen], rest], dim=1)


def others(log_probs: Tensor, chosen: Tensor) -> Tensor:
    """log p of each class but the one chosen, among these, (N, C - 1)."""
    rest = log_probs[~chosen].reshape(len(log_probs), -1)
    return F.log_softmax(rest, dim=1)


def labels(batch: dict[str, Part], theirs: Tensor) -> Tensor:
    """The class of each image of a batch, int64 (N,): its label, else the teacher's first."""
    label = theirs.argmax(1)
    for (_, part), rows in zip(batch.items(), places(batch).values()):
        if part.targets is not None:
            label = torch.cat([label[: rows.start], part.targets.argmax(1), label[rows.stop :]])
    return label
