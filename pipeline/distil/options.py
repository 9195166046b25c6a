"""The blocks of ensembles and of distilled models in params.yaml."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from pipeline.core.block import Block, Fault
from pipeline.methods.distillation import DISTILLATION
from pipeline.methods.semi_supervised import SEMI_SUPERVISED
from pipeline.networks.ensemble import Mean
from pipeline.students.options import Model
from pipeline.training.method import methods_block
from pipeline.training.model import ModelConfig

Methods = methods_block(DISTILLATION | SEMI_SUPERVISED)


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


class Distilled(Model):
    """A student of another model's answers, usually a smaller one; it knows all that the teacher
    knows."""

    teacher: str = Field(description="the model that it learns from")
    methods: Methods = Field(
        description="what it learns from its teacher, and by which other methods"
    )
    images: Literal["all", "labelled"] = Field(
        "all",
        description="which images both see: the labelled ones, or the unlabelled ones as well",
    )

    def faults(self) -> Iterator[Fault]:
        """Nothing to learn from the teacher."""
        if not set(self.methods.names) & set(DISTILLATION):
            what = "it would learn nothing from its teacher"
            yield Fault("methods", what, f"name one of {', '.join(DISTILLATION)}")
