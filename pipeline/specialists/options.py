"""The block of specialists in params.yaml."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from pipeline.core.block import Block, ClassName, Fault, repeated
from pipeline.training.model import ModelConfig
from pipeline.training.recipe import TrainingOverride


class Specialists(Block):
    """Models of parts of the classes, which answer together, with their teacher or without."""

    teacher: str = Field(description="the generalist: whose confusions decide, whose network it is")
    num: int = Field(
        3, ge=2, le=1000, description="subsets of classes that it confuses, one specialist each"
    )
    subsets: list[Annotated[list[ClassName], Field(min_length=1)]] = Field(
        [], description="subsets named, in the place of those that are found"
    )
    generalist: bool = Field(
        True,
        description="whether the teacher's own answer counts; without, its specialists are experts "
        "and have to know all classes between them",
    )
    active: int = Field(
        1,
        ge=1,
        le=1000,
        description="specialists of so many of the teacher's likeliest classes are asked",
    )
    soft: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the teacher's answer in the targets of labelled images, against "
        "over-fitting; the label has the rest",
    )
    images: Literal["all", "labelled"] = Field(
        "all",
        description="which images they see: the labelled ones, or the unlabelled ones as well, by "
        "the teacher's answer alone",
    )
    init: Literal["scratch", "teacher"] = Field(
        "teacher", description="begin with fresh weights, or with the teacher's"
    )
    training: TrainingOverride = Field(
        TrainingOverride(), description="keys of `training` that differ for each specialist"
    )

    @property
    def weighs_unlabelled(self) -> bool:
        """Whether unlabelled images have a weight in its loss."""
        return self.images == "all"

    def faults(self) -> Iterator[Fault]:
        """Subsets that are none, options that say nothing."""
        for subset in self.subsets:
            yield from repeated("subsets", subset)
        if self.subsets and "num" in self.model_fields_set:
            yield Fault("num", f"{len(self.subsets)} subsets are named", "leave it out")
        if not self.generalist and not self.subsets:
            what = "subsets that are found need not hold every class"
            yield Fault("generalist", what, "name the `subsets` of the experts")
        if not self.generalist and "active" in self.model_fields_set:
            yield Fault("active", "every expert is asked", "leave it out")

    def conflicts(self, config: ModelConfig) -> Iterator[Fault]:
        """What is wrong with this block where it stands."""
        yield from config.faults()
        train = config.training.train
        if train != "all" and self.init == "scratch":
            what = f"'{train}' leaves random weights of '{config.name}' as they are"
            yield Fault("training.train", what, "begin with `init: teacher`, or train `all`")
