"""The block of a task in params.yaml."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from pipeline.core.block import Block, ClassName, Fault, LabelsPerClass, repeated
from pipeline.methods.continual import CONTINUAL
from pipeline.methods.semi_supervised import SEMI_SUPERVISED
from pipeline.training.method import methods_block
from pipeline.training.model import ModelConfig
from pipeline.training.recipe import TrainingOverride

Methods = methods_block(CONTINUAL | SEMI_SUPERVISED)


class Task(Block):
    """Classes learnt on top of a model, without its data."""

    base: str = Field(description="the model to extend")
    scenario: Literal["class", "task"] = Field(
        description="`class`: answers range over all classes; `task`: the task of an image is known"
    )
    classes: list[ClassName] = Field(min_length=1, description="the new classes")
    labels_per_class: LabelsPerClass = Field(
        description="labelled images of each new class: `all` that there are, or a number",
        union_mode="left_to_right",
    )
    methods: Methods = Field(
        description="what keeps the old classes, and what else it learns by; `{}` is plain "
        "fine-tuning"
    )
    ce_over: Literal["auto", "all", "new"] = Field(
        "auto",
        description="logits in the cross-entropy of new images: `all`, the `new` block, or `auto` "
        "(`new`, unless old images are in the batch or the task is a single class)",
    )
    training: TrainingOverride = Field(
        TrainingOverride(), description="keys of `training` that differ for this task"
    )

    def faults(self) -> Iterator[Fault]:
        """Classes named twice; a single class that there is nothing to tell from."""
        yield from repeated("classes", self.classes)
        if len(self.classes) > 1:
            return
        if self.scenario == "task":
            what = "a single class is the only answer where the task is known"
            yield Fault("classes", what, "name two or more, or use scenario: class")
        elif self.ce_over == "new":
            what = "the cross-entropy over a single new class is always 0"
            yield Fault("ce_over", what, "use all, or leave it out")

    def conflicts(self, config: ModelConfig) -> Iterator[Fault]:
        """What is wrong with this block where it stands."""
        yield from config.faults()
        if self.training.image_size is not None:
            what = f"a task keeps the resolution of its base '{self.base}'"
            yield Fault("training.image_size", what, "leave it out")
        if config.parent.calibrated:
            what = f"'{self.base}' has a calibrator, which knows no more classes"
            yield Fault("base", what, "extend the student of that pair, or another model")
