"""The block of a task in params.yaml."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from pipeline.core.block import Block, ClassName, Fault, LabelsPerClass, repeated
from pipeline.labelling.rule import LabelsOverride
from pipeline.methods.continual import CONTINUAL
from pipeline.methods.semi_supervised import SEMI_SUPERVISED
from pipeline.training.method import methods_block
from pipeline.training.model import ModelConfig
from pipeline.training.recipe import TrainingOverride

Methods = methods_block(CONTINUAL | SEMI_SUPERVISED)


class Task(Block):
    """What is learnt on top of a model: new classes, or known ones in images of another kind."""

    base: str = Field(description="the model to extend")
    scenario: Literal["class", "task", "domain"] = Field(
        description="`class`: answers range over all classes; `task`: the task of an image is "
        "known; `domain`: classes that the base knows, in images of another source"
    )
    classes: list[ClassName] = Field(
        min_length=1,
        description="the new classes; with `domain` all those of one earlier task, in its order",
    )
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
    old_heads: Literal["trained", "frozen"] = Field(
        "trained", description="whether the heads of earlier tasks go on learning"
    )
    joint: bool = Field(
        False,
        description="train on the labelled images of all earlier tasks too: what methods are "
        "measured by where those images are still there",
    )
    label_with: Literal["none", "self"] = Field(
        "none",
        description="`self`: the task is learnt from its labels first; what that gives labels the "
        "task's unlabelled images (with `class` not those that it calls an old class), and the "
        "base learns the task again from both (twice the time)",
    )
    labels: LabelsOverride = Field(
        LabelsOverride(), description="keys of `labels` that differ for `label_with: self`"
    )
    training: TrainingOverride = Field(
        TrainingOverride(), description="keys of `training` that differ for this task"
    )

    @property
    def weighs_unlabelled(self) -> bool:
        """Whether pseudo-labelled images are part of its loss."""
        return self.label_with == "self"

    def faults(self) -> Iterator[Fault]:
        """Classes named twice; methods or options of another scenario; a single class that there is
        nothing to tell from."""
        yield from repeated("classes", self.classes)
        for name in self.methods.names:
            allowed = self.methods.family[name].scenarios
            if self.scenario not in allowed:
                what = f"{name} has no meaning with scenario: {self.scenario}"
                yield Fault(f"methods.{name}", what, f"use scenario: {' or '.join(allowed)}")
        if self.labels.model_fields_set and self.label_with == "none":
            yield Fault("labels", "nothing is labelled", "use label_with: self, or leave it out")
        if len(self.classes) > 1 or self.scenario == "domain":
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
        if self.scenario == "domain" and config.training.train == "new_head":
            what = "with scenario: domain there is no new head"
            yield Fault("training.train", what, "use all or fc")
        for name in self.methods.names:
            trains = self.methods.family[name].trains
            if trains and config.training.train != "all":
                what = f"{name} trains the {trains} and the new head, whatever the recipe says"
                yield Fault("training.train", what, "use all, or leave it out")
        if config.training.features == "frozen" and (self.joint or self.label_with != "none"):
            key = "joint" if self.joint else "label_with"
            what = "frozen features are of the new labelled images alone"
            yield Fault(key, what, f"set training.features to trained for '{config.name}'")
        if config.parent.calibrated:
            what = f"'{self.base}' has a calibrator, which knows no more classes"
            yield Fault("base", what, "extend the student of that pair, or another model")
