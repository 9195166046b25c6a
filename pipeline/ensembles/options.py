"""The block of an ensemble in params.yaml."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from pipeline.core.block import Block, Fault
from pipeline.networks.ensemble import Mean
from pipeline.training.model import ModelConfig


class Together(Block):
    """Two models that answer together; an ensemble as one of them adds its members, so that a line
    more is a member more."""

    first: str = Field(description="a model, or an ensemble")
    second: str = Field(description="another one of the same classes")
    mean: Mean = Field(
        "arithmetic",
        description="of the members' probabilities; `geometric` is that of their logits",
    )
    weights: Literal["equal", "val_acc"] = Field(
        "equal", description="of the members: all the same, or each one's accuracy on val"
    )

    def conflicts(self, config: ModelConfig) -> Iterator[Fault]:
        """Nothing is trained here that could be in conflict."""
        return iter(())

    def faults(self) -> Iterator[Fault]:
        """A model with itself."""
        if self.first == self.second:
            yield Fault("second", f"'{self.first}' would answer twice", "name another model")
