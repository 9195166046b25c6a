"""How a student's progress on labelled images is measured, and made a correction of its teacher.

    loss_difference  h = L(theta) - L(theta'), old minus new
    inner_product    h = rate * <grad L(theta'), grad H(y, S(theta))>, its first order in the rate

A moving average of the feedback, its value before this step, is subtracted; the teacher descends
what is left times the sum (`scale: mean`: the mean) over images of H(y, T).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.data.batches import Part
from pipeline.meta.pair import Pair


class Measured(Pair, ABC):
    """Sampled labels, and a number that says how much they helped."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.baseline = torch.zeros((), device=self.network.mean.device)

    def correction(self, labelled: Part, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        feedback = self.measure(labelled)
        h = feedback - self.baseline
        decay = self.options.baseline_decay
        self.baseline = decay * self.baseline + (1 - decay) * feedback
        losses = F.cross_entropy(logits, targets, reduction="none")
        return feedback, h * (losses.sum() if self.options.scale == "sum" else losses.mean())

    @abstractmethod
    def measure(self, labelled: Part) -> Tensor:
        """The feedback on the step that was made."""

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"baseline": self.baseline}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        super().load_state(state)
        self.baseline = state["baseline"].to(self.baseline.device)


class LossDifference(Measured):
    """The labelled loss before the step minus that after it."""

    measurements = 2

    @torch.no_grad()
    def before_step(self, labelled: Part) -> None:
        self._before = self.labelled_loss(labelled)

    @torch.no_grad()
    def _after(self, labelled: Part) -> Tensor:
        return self.labelled_loss(labelled)

    def measure(self, labelled: Part) -> Tensor:
        return self._before - self._after(labelled)


class InnerProduct(Measured):
    """The same to first order in the learning rate."""

    measurements = 1

    def advance(self) -> None:
        # copies: Nesterov's momentum is added to a gradient in place
        named = self.network.named_parameters()
        self._grads = {n: w.grad.clone() for n, w in named if w.grad is not None}
        super().advance()

    def measure(self, labelled: Part) -> Tensor:
        return self.downhill(labelled, self._grads)
