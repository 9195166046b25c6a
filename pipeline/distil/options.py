"""The block of a distilled model in params.yaml."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from pipeline.core.block import Fault, repeated
from pipeline.labelling.transforms import Transforms
from pipeline.methods.distillation import DISTILLATION
from pipeline.methods.semi_supervised import SEMI_SUPERVISED
from pipeline.students.options import Model
from pipeline.training.method import methods_block

Methods = methods_block(DISTILLATION | SEMI_SUPERVISED)


class Distilled(Model):
    """A student of another model's answers, usually a smaller one; it knows all that the teacher
    knows."""

    teacher: str = Field(description="the model that it learns from")
    methods: Methods = Field(
        description="what it learns from its teacher, and by which other methods"
    )
    transforms: Transforms = Field(
        ["identity"],
        min_length=1,
        description="the teacher answers each view under all of these, and the mean of its "
        "probabilities counts; inner layers are of the view as it is",
    )
    images: Literal["all", "labelled"] = Field(
        "all",
        description="which images both see: the labelled ones, or the unlabelled ones as well",
    )

    def faults(self) -> Iterator[Fault]:
        """Nothing to learn from the teacher; a transform that would count twice."""
        yield from repeated("transforms", self.transforms)
        if not set(self.methods.names) & set(DISTILLATION):
            what = "it would learn nothing from its teacher"
            yield Fault("methods", what, f"name one of {', '.join(DISTILLATION)}")
