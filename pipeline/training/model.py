"""A model to train, as params.yaml resolves it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.core.block import Fault
from pipeline.networks import NETWORKS, architecture_of
from pipeline.training.recipe import Training

# keys of the recipe that say nothing to frozen features: a model that has them must not state them
IN_VAIN = {"shift", "num_ops", "magnitude_std", "cutout", "stochastic_depth", "batch_norm"}


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
        of, drop = architecture_of(self.network), self.training.stochastic_depth
        if drop and not of.residual:
            residual = ", ".join(_families(n for n, a in NETWORKS.items() if a.residual))
            what = f"'{self.network}' has no residual blocks for stochastic_depth {drop:g}"
            yield Fault("network", what, f"set it to 0 for this model, or use one of {residual}")
        labelled = self.key.startswith("generations") or getattr(
            self.options, "weighs_unlabelled", False
        )
        if not labelled and "unlabelled_weight" in self.options.training.model_fields_set:
            what = f"'{self.name}' has no teacher's pseudo-labels to weigh"
            yield Fault("training.unlabelled_weight", what, "leave it out")
        own = "width" in self.options.model_fields_set  # else a parent has said it
        if own and self.width != 1 and not of.any_width:
            yield Fault("width", f"'{self.network}' has one width", "set it to 1")
        if self.training.features == "frozen":
            yield from self._frozen_faults()

    def _frozen_faults(self) -> Iterator[Fault]:
        """What cannot go with a backbone that sees every image once."""
        trained = f"set training.features to trained for '{self.name}'"
        methods, own = getattr(self.options, "methods", None), self.options.training
        if methods is None:
            what = f"'{self.name}' trains on views of images"
            yield Fault("training.features", what, trained)
        for name in methods.names if methods else ():
            what = f"{name} looks at views of images, of which frozen features have none"
            yield Fault(f"methods.{name}", what, f"leave it out, or {trained}")
        if getattr(self.options, "fine_tune", None):
            what = "it trains the whole network, whose features are frozen"
            yield Fault("fine_tune", what, f"leave it out, or {trained}")
        if self.training.train == "fc":
            what = "'fc' trains layers of the backbone, whose features are frozen"
            yield Fault("training.train", what, "use all (the heads), or new_head")
        for key in sorted(IN_VAIN & own.model_fields_set):
            if getattr(own, key) not in (0, "joint"):
                yield Fault(f"training.{key}", "frozen features have none of it", "leave it out")


def _families(names: Iterator[str]) -> list[str]:
    """`torchvision/resnet...` stands for all that begin so."""
    return list(dict.fromkeys(re.sub(r"(/[a-z]+).*", r"\1...", name) for name in names))
