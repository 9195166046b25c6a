"""The blocks of params.yaml that are models: who teaches whom, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.params.blocks import (
    Block,
    ClassName,
    FineTune,
    LabelsOverride,
    Pretrained,
    TrainingOverride,
)
from pipeline.params.methods import UDA, FixMatch, LwF, OnlinePseudoLabel
from pipeline.params.names import LearnerName, MethodName, NetworkName


class Model(Block):
    """What every trained model states."""

    network: NetworkName = Field(description="architecture")
    width: float = Field(
        1.0, gt=0, le=16, description="multiplies the channels; 1 for `torchvision/`"
    )
    pretrained: Pretrained | None = Field(
        None, description="weights that the backbone begins from; random without"
    )
    training: TrainingOverride = Field(
        TrainingOverride(), description="keys of `training` that differ for this model"
    )
    fine_tune: FineTune | None = Field(
        None, description="a clean training on labelled images at the end; none if left out"
    )


class Teacher(Model):
    """The first model: labels only."""


class Generation(Model):
    """A noisy student: labels and its teacher's pseudo-labels."""

    teacher: str = Field(description="the model that labels the unlabelled images")
    init: Literal["scratch", "teacher"] = Field(
        "scratch", description="begin with fresh weights, or with the teacher's"
    )
    labels: LabelsOverride = Field(
        LabelsOverride(), description="keys of `labels` that differ for this generation"
    )


class Baseline(Model):
    """A yardstick: one model from the same data by another way, in the same loop."""

    learner: LearnerName = Field(
        description="`supervised`: labels alone; `pseudo_label`, `uda`, `fixmatch`: unlabelled "
        "images too, with labels made at every step"
    )
    pseudo_label: OnlinePseudoLabel | None = Field(None, description="options of `pseudo_label`")
    uda: UDA | None = Field(None, description="options of `uda`")
    fixmatch: FixMatch | None = Field(None, description="options of `fixmatch`")


class MetaPseudoLabels(Model):
    """A student whose progress corrects its teacher while both train (Pham et al. 2021). The
    teacher comes out as a model too, `<name>-teacher`."""

    network: NetworkName | None = Field(
        None, description="architecture of the student; its teacher's if left out"
    )
    teacher: str = Field(description="the model that labels; a copy of it is trained on")
    init: Literal["scratch", "teacher"] = Field(
        "scratch", description="begin with fresh weights, or with the teacher's"
    )
    feedback: Literal["loss_difference", "inner_product", "none"] = Field(
        "loss_difference",
        description="how the student's progress is measured; `none`: the teacher learns by labels "
        "and consistency alone",
    )
    labels: Literal["hard", "soft"] = Field(
        "hard", description="sampled classes, or the teacher's probabilities with their gradient"
    )
    scale: Literal["sum", "mean"] = Field(
        "mean",
        description="the teacher's correction over the unlabelled images: their mean, or their "
        "sum, so many times as strong; with soft labels always the sum",
    )
    baseline_decay: float = Field(
        0.9,
        ge=0,
        le=1,
        description="of the moving average that is subtracted from the feedback; 1 = none",
    )
    student_wait: int = Field(
        0, ge=0, description="steps in which the teacher alone learns, at first"
    )
    teacher_learning_rate: float = Field(
        0.01, gt=0, le=10, description="peak of the teacher's cosine schedule"
    )
    uda: UDA = Field(
        UDA(weight=1.0, threshold=0.6, temperature=0.7, ramp_steps=0, confidence="sharpened"),
        description="the teacher's consistency loss; 8, 0.6 and 0.7 in the released code",
    )
    reduced: bool = Field(
        False,
        description="the teacher stays as it is and answers each image once; what the student "
        "corrects is a small network that calibrates these answers. For a teacher too large to "
        "train beside a student",
    )
    calibrator_width: int = Field(
        128, ge=1, le=65_536, description="hidden units of that small network, with `reduced`"
    )


class MetaTeacher(Block):
    """The teacher that comes out of Meta Pseudo Labels."""

    teacher: str = Field(description="the model that it was")
    training: TrainingOverride = Field(
        TrainingOverride(), description="keys of `training` that differ for this model"
    )


class Task(Block):
    """Classes learnt on top of a model, without its data."""

    base: str = Field(description="the model to extend")
    scenario: Literal["class", "task"] = Field(
        description="`class`: answers range over all classes; `task`: the task of an image is known"
    )
    classes: list[ClassName] = Field(min_length=1, description="the new classes")
    labels_per_class: int = Field(ge=1, description="labelled images of each new class")
    methods: list[MethodName] = Field(
        description="what keeps the old classes, in this order; `[]` is plain fine-tuning"
    )
    ce_over: Literal["auto", "all", "new"] = Field(
        "auto",
        description="logits in the cross-entropy of new images: `all`, the `new` block, or `auto` "
        "(`new`, unless old images are in the batch)",
    )
    lwf: LwF | None = Field(None, description="options of the method `lwf`")
    pseudo_label: OnlinePseudoLabel | None = Field(None, description="options of `pseudo_label`")
    uda: UDA | None = Field(None, description="options of `uda`")
    fixmatch: FixMatch | None = Field(None, description="options of `fixmatch`")
    training: TrainingOverride = Field(
        TrainingOverride(), description="keys of `training` that differ for this task"
    )


AnyModel = Teacher | Generation | MetaPseudoLabels | MetaTeacher | Baseline | Task


def teacher_of(pair: str) -> str:
    """The model that the teacher of an entry of `meta_pseudo_labels` becomes."""
    return f"{pair}-teacher"
