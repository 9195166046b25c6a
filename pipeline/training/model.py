"""A model to train, as params.yaml resolves it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.core.block import Fault
from pipeline.networks import NETWORKS
from pipeline.training.recipe import Training


@dataclass(frozen=True)
class ModelConfig:
    """What a training needs to know of its model.

    Attributes:
        name: of the model; `models/<name>` is where it goes.
        key: of its block in params.yaml, e.g. `generations.g1`, for messages.
        seed: of every random draw.
        options: its block.
        training: the shared recipe with the model's own keys.
        network, width: its own, or those of what it comes from.
        parent: the model that teaches it or that it extends; None: from labels.
        calibrated: whether a calibrator stands behind its heads.
    """

    name: str
    key: str
    seed: int
    options: Any
    training: Training
    network: str
    width: float
    parent: ModelConfig | None = None
    calibrated: bool = False

    def chain(self) -> Iterator[ModelConfig]:
        """This model, its parent, and so on to the first."""
        yield self
        if self.parent:
            yield from self.parent.chain()

    def faults(self) -> Iterator[Fault]:
        """What its recipe asks of its network in vain."""
        architecture, drop = NETWORKS[self.network], self.training.stochastic_depth
        if drop and not architecture.residual:
            residual = ", ".join(_families(n for n, a in NETWORKS.items() if a.residual))
            what = f"'{self.network}' has no residual blocks for stochastic_depth {drop:g}"
            yield Fault("network", what, f"set it to 0 for this model, or use one of {residual}")
        labelled_by_none = not self.key.startswith("generations")
        if labelled_by_none and "unlabelled_weight" in self.options.training.model_fields_set:
            what = f"'{self.name}' has no teacher's pseudo-labels to weigh"
            yield Fault("training.unlabelled_weight", what, "leave it out")
        own = "width" in self.options.model_fields_set  # else a parent has said it
        if own and self.width != 1 and not architecture.any_width:
            yield Fault("width", f"'{self.network}' has one width", "set it to 1")


def _families(names: Iterator[str]) -> list[str]:
    """`torchvision/resnet...` stands for all that begin so."""
    return list(dict.fromkeys(re.sub(r"(/[a-z]+).*", r"\1...", name) for name in names))
