"""Knowledge distillation (Hinton et al. 2015, arXiv:1503.02531).

    L = (1 - alpha) * H(y, p) + alpha * T^2 * KL(p_t^T || p^T)

p^T = softmax(z / T). The first term is that of the labels, over the labelled images, the second the
mean over all images of a step. With T^2 its gradient does not shrink as T grows: for large T it is
that of half the mean squared difference of centred logits. KL and the paper's cross-entropy differ
by a constant.

`end` is what is left of alpha in the second term at the last step, linearly, as FitNets anneals it
(Romero et al. 2015, arXiv:1412.6550).
"""

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from pipeline.core.block import Block
from pipeline.data.batches import Part
from pipeline.methods.distillation.taught import Taught
from pipeline.networks.classifier import Output
from pipeline.training.learner import full
from pipeline.training.method import Setting


class KnowledgeDistillation(Taught):
    """Knowledge distillation (Hinton et al. 2015): learns the teacher's softened probabilities.

    With any method that compares inner layers.
    """

    class Options(Block):
        """Of knowledge distillation."""

        alpha: float = Field(
            0.9, ge=0, le=1, description="weight of the teacher's term; labels have the rest of 1"
        )
        temperature: float = Field(4.0, gt=0, le=1000, description="softens both answers")
        end: float = Field(
            1.0,
            ge=0,
            le=1,
            description="share of `alpha` that the teacher's term has left at the last step",
        )

    name = "kd"
    excludes = ("decoupled",)

    @property
    def capturable(self) -> bool:
        """Not where the weight changes from step to step."""
        return self.options.end == 1

    @property
    def ce_weight(self) -> float:
        return 1 - self.options.alpha

    def start(self, setting: Setting) -> None:
        """How long there is to anneal."""
        super().start(setting)
        self._last = max(1, setting.training.steps - 1)

    def loss(self, batch: dict[str, Part], output: Output, taught: Output) -> Tensor:
        temperature = self.options.temperature
        mine = F.log_softmax(full(output.logits) / temperature, dim=1)
        theirs = self.teaching.log_probs(taught, temperature)
        left = 1 - (1 - self.options.end) * self.step / self._last
        return left * self.options.alpha * temperature**2 * divergence(mine, theirs).mean()


def divergence(mine: Tensor, theirs: Tensor) -> Tensor:
    """KL(theirs || mine) of log-probabilities (N, C), for each image (N,), in nats."""
    return F.kl_div(mine, theirs, reduction="none", log_target=True).sum(1)
