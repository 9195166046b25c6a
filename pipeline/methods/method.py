"""What a method may add to a learner: six hooks that return what they add, and a memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from pipeline.data.batches import Part
from pipeline.networks import Classifier, Output


class Blocks(NamedTuple):
    """Where the logits of the tasks are, when a new one begins.

    `old` holds one slice per softmax over old units: all of them as one where a single head grows
    (scenario `class`), one per earlier task where the task of an image is known (`task`).
    `trained` is what the cross-entropy of new images ranges over.
    """

    old: list[slice]
    new: slice
    trained: slice


class Method:
    """Adds nothing. Subclasses override the hooks they need and keep in `memory` all that must
    cross to the next task; it is saved beside the model as `memory.safetensors`.

    Attributes:
        consolidates: whether the method learns from the base model's own data; if so and its
            memory of the base is empty, `after_task` is called on it before the first extension.
        streams: the parts of unlabelled images that the batch must bring: `unlabelled` (strong
            view), `weak` (a weak view of the same images). They have no targets.
        memory: named tensors.
        notes: named scalars to record beside the losses; the same names at every step.
        step: the update being made, 0, 1, ...; the learner sets it.
    """

    consolidates = False
    streams: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.memory: dict[str, Tensor] = {}
        self.notes: dict[str, Tensor] = {}
        self.step = 0

    def before_task(self, network: Classifier, blocks: Blocks) -> None:
        """The network is about to learn a task; the new head is there, nothing is trained."""

    def batch(self, batch: dict[str, Part]) -> dict[str, Part]:
        """The batch to train on."""
        return batch

    def losses(
        self, network: Classifier, batch: dict[str, Part], output: Output
    ) -> Mapping[str, Tensor]:
        """Named losses to add, already weighted.

        Args:
            output: of the joint forward pass over the batch's parts, in their order.
        """
        return {}

    def grads(self, network: Classifier) -> Mapping[str, Tensor]:
        """Gradients to add, by the name of the weight."""
        return {}

    def after_step(self, network: Classifier, batch: dict[str, Part], output: Output) -> None:
        """The optimiser has stepped."""

    def after_task(self, network: Classifier, images: Tensor, labels: Tensor | None) -> None:
        """The task is learnt; `images` uint8 (N, C, H, W) are its own training data."""
