"""The block of a pair of Meta Pseudo Labels in params.yaml."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from pipeline.core.block import Block, Fault
from pipeline.methods.semi_supervised.uda import UnsupervisedDataAugmentation
from pipeline.networks.name import NetworkName
from pipeline.students.options import Student
from pipeline.training.model import ModelConfig
from pipeline.training.recipe import TrainingOverride


class Consistency(UnsupervisedDataAugmentation.Options):
    """Of the teacher's consistency loss; 8, 0.6 and 0.7 in the released code."""

    threshold: float = Field(0.6, ge=0, le=1, description="least confidence, see `confidence`")
    temperature: float = Field(
        0.7, gt=0, le=100, description="sharpens (< 1) the weak view's answer"
    )
    confidence: Literal["plain", "sharpened"] = Field(
        "sharpened", description="what the threshold reads: before or after the temperature"
    )

    def faults(self) -> Iterator[Fault]:
        """What the teacher's own loss may not do to the images that it labels."""
        if self.mixup:
            what = "the teacher would label mixtures of the images that its student learns from"
            yield Fault("mixup", what, "leave it out")


class MetaPseudoLabels(Student):
    """A student whose progress corrects its teacher while both train (Pham et al. 2021). The
    teacher comes out as a model too, `<name>-teacher`."""

    network: NetworkName | None = Field(
        None, description="architecture of the student; its teacher's if left out"
    )
    teacher: str = Field(description="the model that labels; a copy of it is trained on")
    feedback: Literal["loss_difference", "inner_product", "none"] = Field(
        "loss_difference",
        description="how the student's progress is measured, with hard labels (soft ones carry its "
        "gradient); `none`: the teacher learns by labels and consistency alone",
    )
    labels: Literal["hard", "soft"] = Field(
        "hard", description="sampled classes, or the teacher's probabilities with their gradient"
    )
    scale: Literal["sum", "mean"] = Field(
        "mean",
        description="the teacher's correction over the unlabelled images: their mean, or their "
        "sum, so many times as strong; for hard labels",
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
    uda: Consistency = Field(Consistency(), description="the teacher's consistency loss")
    reduced: bool = Field(
        False,
        description="the teacher stays as it is and answers each image once; what the student "
        "corrects is a small network that calibrates these answers. For a teacher too large to "
        "train together with a student",
    )
    calibrator_width: int = Field(
        128, ge=1, le=65_536, description="hidden units of that small network, with `reduced`"
    )

    @property
    def corrected_by(self) -> str:
        """What corrects the teacher: a measure of progress, the labels' `gradient`, or `none`."""
        soft = self.labels == "soft" and self.feedback != "none"
        return "gradient" if soft else self.feedback

    @property
    def idle(self) -> set[str]:
        """Options that say nothing to this pair."""
        idle = {"uda"} if self.reduced else {"calibrator_width"}
        if self.labels == "soft" or self.feedback == "none":
            idle |= {"scale", "baseline_decay"}
        return idle

    def faults(self) -> Iterator[Fault]:
        """Options that would do nothing."""
        given = self.model_fields_set
        if self.corrected_by == "gradient" and "feedback" in given:
            what = f"soft labels correct the teacher by their gradient, not by {self.feedback}"
            yield Fault("feedback", what, "leave it out, or use labels: hard")
        for key in sorted(self.idle & given - {"uda"}):
            yield Fault(key, f"{getattr(self, key)} does nothing in this pair", "leave it out")
        if self.reduced and "uda" in given:
            what = "a reduced teacher sees no images, so it has no consistency loss"
            yield Fault("uda", what, "leave it out")

    def conflicts(self, config: ModelConfig) -> Iterator[Fault]:
        """Besides: what Meta Pseudo Labels cannot do where it stands."""
        yield from super().conflicts(config)
        training, teacher = config.training, config.parent
        if not self.network and "width" in self.model_fields_set:
            what = f"without `network` the student has the width of its teacher '{teacher.name}'"
            yield Fault("width", what, "add `network`")
        if training.optimizer != "sgd" and self.corrected_by in ("gradient", "inner_product"):
            what = f"'{training.optimizer}' has no such feedback: it is known for sgd"
            fix = "use feedback: loss_difference with hard labels, or optimizer: sgd"
            yield Fault("feedback", what, fix)
        if training.clip_norm and self.corrected_by == "gradient":
            clip = f"clip_norm {training.clip_norm:g}"
            what = f"the gradient of soft labels is not known through {clip}"
            fix = f"set training.clip_norm to 0 for '{config.name}', or use labels: hard"
            yield Fault("labels", what, fix)
        if self.reduced and teacher.calibrated:
            plain = next(model.name for model in teacher.chain() if not model.calibrated)
            yield Fault("teacher", f"'{teacher.name}' has a calibrator already", f"name '{plain}'")
        if self.student_wait >= training.steps:
            what = f"the student would wait for all {training.steps} steps"
            yield Fault("student_wait", what, "lower it")


class MetaTeacher(Block):
    """The teacher that comes out of Meta Pseudo Labels."""

    teacher: str = Field(description="the model that it was")
    training: TrainingOverride = Field(
        TrainingOverride(), description="keys of `training` that differ for this model"
    )
