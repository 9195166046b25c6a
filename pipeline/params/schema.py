"""What params.yaml may hold. Every description below is also a line of the README."""

from __future__ import annotations

from copy import copy
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

# The names live here as well as in the dicts they name, so that checking a file need not
# import torch; tests hold the two together.
NetworkName = Literal[
    "small_cnn",
    "wide_cnn",
    "resnet_9",
    "wrn_28_2",
    "torchvision/resnet18",
    "torchvision/resnet34",
    "torchvision/resnet50",
    "torchvision/resnet101",
    "torchvision/resnet152",
    "torchvision/resnext50_32x4d",
    "torchvision/resnext101_32x8d",
    "torchvision/wide_resnet50_2",
    "torchvision/wide_resnet101_2",
    "torchvision/densenet121",
    "torchvision/densenet169",
    "torchvision/densenet201",
    "torchvision/mobilenet_v2",
    "torchvision/mobilenet_v3_small",
    "torchvision/mobilenet_v3_large",
    "torchvision/efficientnet_b0",
    "torchvision/efficientnet_b1",
    "torchvision/efficientnet_b2",
    "torchvision/efficientnet_b3",
    "torchvision/efficientnet_b4",
    "torchvision/efficientnet_b5",
    "torchvision/efficientnet_b6",
    "torchvision/efficientnet_b7",
    "torchvision/efficientnet_v2_s",
    "torchvision/efficientnet_v2_m",
    "torchvision/efficientnet_v2_l",
    "torchvision/convnext_tiny",
    "torchvision/convnext_small",
    "torchvision/convnext_base",
    "torchvision/convnext_large",
    "torchvision/regnet_y_400mf",
    "torchvision/regnet_y_800mf",
    "torchvision/regnet_y_1_6gf",
    "torchvision/regnet_y_3_2gf",
    "torchvision/shufflenet_v2_x0_5",
    "torchvision/shufflenet_v2_x1_0",
    "torchvision/vgg11_bn",
    "torchvision/vgg16_bn",
    "torchvision/vgg19_bn",
]
SourceName = Literal["digits", "folder"]
OptimizerName = Literal["sgd", "adamw"]
LearnerName = Literal["supervised", "pseudo_label", "uda", "fixmatch"]
MethodName = Literal["lwf", "pseudo_label", "uda", "fixmatch"]
TransformName = Literal[
    "identity",
    "flip",
    "left",
    "right",
    "up",
    "down",
    "zoom_in",
    "zoom_out",
    "turn_left",
    "turn_right",
]


def _class_name(value: Any) -> Any:
    """`0` in YAML means the class called "0"."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


ClassName = Annotated[str, BeforeValidator(_class_name), Field(min_length=1)]


class Block(BaseModel):
    """A part of params.yaml: immutable, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def keys(cls) -> dict[str, FieldInfo]:
        """The fields by the names they have in the file."""
        return {field.alias or name: field for name, field in cls.model_fields.items()}


class Data(Block):
    """Where the images come from and how they are split."""

    source: SourceName = Field(description="which reader of images to use")
    root: str = Field(
        min_length=1, description="folder of the images; a change in it re-runs `prepare`"
    )
    size: int = Field(
        0, ge=0, le=4096, description="side to store images at, in pixels; 0 = as they are"
    )
    classes: list[ClassName] = Field(
        min_length=2, description="classes of the base task, in order; others are kept for tasks"
    )
    labels_per_class: int = Field(ge=1, description="labelled training images of each class")
    val: float = Field(
        ge=0,
        lt=1,
        description="share of all images for validation; 0 where the source brings its own",
    )
    test: float = Field(
        ge=0,
        lt=1,
        description="share of all images for test; 0 where the source brings its own",
    )
    seed: int = Field(ge=0, description="which images are labelled, val and test")


class Training(Block):
    """How a model is trained; a model's own `training:` overrides single keys."""

    steps: int = Field(ge=1, description="optimiser updates")
    batch_size: int = Field(ge=1, description="labelled images in a step")
    unlabelled_ratio: float = Field(
        gt=0, le=64, description="unlabelled images in a step, per labelled one"
    )
    unlabelled_weight: float = Field(
        ge=0, description="weight of the pseudo-labelled loss beside the labelled one (students)"
    )
    optimizer: OptimizerName = Field(description="`sgd` has Nesterov momentum 0.9")
    learning_rate: float = Field(gt=0, le=10, description="peak of the cosine schedule")
    warmup_steps: int = Field(ge=0, description="steps of linear warm-up to the peak")
    weight_decay: float = Field(ge=0, le=1, description="decay of weights (not biases, not norms)")
    clip_norm: float = Field(ge=0, description="largest norm of the gradient; 0 = no limit")
    label_smoothing: float = Field(
        ge=0, lt=1, description="on labelled images and hard pseudo-labels"
    )
    dropout: float = Field(ge=0, lt=1, description="model noise: dropout before the classifier")
    stochastic_depth: float = Field(
        ge=0, lt=1, description="model noise: drop rate of the last residual block (linear)"
    )
    ema: float = Field(
        ge=0, lt=1, description="decay of the averaged weights that teach and ship; 0 = off"
    )
    batch_norm: Literal["joint", "separate"] = Field(
        "joint",
        description="labelled and unlabelled images in one forward pass, or each in its own, "
        "normalised by its own statistics (the running averages take in one after the other)",
    )
    image_size: int = Field(
        0,
        ge=0,
        le=4096,
        description="side that the network resizes images to; 0 = as they are stored",
    )
    labelled_view: Literal["strong", "weak"] = Field(
        "strong", description="the view of labelled images in training"
    )
    flip: bool = Field(description="weak view: random horizontal flip")
    shift: int = Field(ge=0, description="weak view: random shift, at most so many pixels")
    num_ops: int = Field(ge=0, le=14, description="strong view: RandAugment operations per image")
    magnitude: int = Field(ge=0, le=30, description="strong view: RandAugment magnitude")
    keep: Literal["last", "best"] = Field(
        description="the weights that ship: the last, or those best on val (first of equals)"
    )
    evaluate_every: int = Field(ge=1, description="steps between two looks at val")
    train: Literal["all", "fc", "new_head"] = Field(
        "all",
        description="`all` weights, `fc` = the fully connected layers and the heads, or the "
        "`new_head` alone; the others stay as they began",
    )

    @property
    def num_unlabelled(self) -> int:
        """Unlabelled images in a step."""
        return max(1, round(self.batch_size * self.unlabelled_ratio))


class Labels(Block):
    """How a teacher's probabilities become pseudo-labels, in this order."""

    transforms: list[TransformName] = Field(
        ["identity"],
        min_length=1,
        description="the teacher answers each image under all of these, and the mean of its "
        "probabilities counts; `[identity]` is the plain answer",
    )
    threshold: float = Field(ge=0, le=1, description="least confidence (largest probability)")
    align: Literal["none", "uniform"] = Field(
        "none",
        description="distribution alignment: reweight classes so that their shares over the kept "
        "images come nearer to those of the labelled ones, which are equal",
    )
    share: float = Field(
        gt=0, le=1, description="share of each predicted class to keep, most confident first"
    )
    temperature: float = Field(gt=0, le=100, description="sharpens (< 1) or softens soft labels")
    kind: Literal["soft", "hard"] = Field(description="probabilities, or the top class alone")
    balance: Literal["equal", "none"] | Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        description="images per predicted class: `equal` = the mean of the classes that have any, "
        "a number, or `none`; larger classes lose their least confident, smaller repeat images",
        union_mode="left_to_right",
    )


def _partial(block: type[Block]) -> type[Block]:
    """`block` with every field optional: what may stand in an override."""
    fields = {}
    for name, field in block.model_fields.items():
        optional = copy(field)
        optional.default = None
        fields[name] = (field.annotation, optional)
    return create_model(f"{block.__name__}Override", __base__=Block, **fields)


TrainingOverride = _partial(Training)
LabelsOverride = _partial(Labels)


class Pretrained(Block):
    """A file of weights to begin from."""

    file: str = Field(
        min_length=1, description="`.safetensors`, or torch's `.pth` or `.pt`, in this folder"
    )
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of the file; `sha256sum` prints it")


class FineTune(Block):
    """A short clean training at the end: labelled images alone, in the weak view, no model noise;
    perhaps at another resolution (train low, test high)."""

    steps: int = Field(ge=1, description="optimiser updates")
    learning_rate: float = Field(gt=0, le=10, description="peak of the cosine schedule")
    image_size: int = Field(ge=0, le=4096, description="as in `training`; often higher than there")


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


class LwF(Block):
    """Learning without Forgetting (Li and Hoiem 2016)."""

    weight: float = Field(ge=0, le=1000, description="of the distillation loss on the old units")
    temperature: float = Field(gt=0, le=100, description="softens both answers; 2 in the paper")
    warmup_steps: int = Field(ge=0, description="steps that train the new head alone, at first")


class WeakAndStrong(Block):
    """Options of methods that compare a weak and a strong view of an unlabelled image."""

    weight: float = Field(ge=0, le=1000, description="of the loss on unlabelled images")
    threshold: float = Field(
        ge=0, le=1, description="least confidence on the weak view, before sharpening"
    )
    weak_view: Literal["apart", "joint"] = Field(
        "apart",
        description="predict on the weak view in a pass of its own, without gradient, or in one "
        "pass with all other images, which share BatchNorm statistics then and cost more",
    )


class FixMatch(WeakAndStrong):
    """FixMatch (Sohn et al. 2020): 1.0 and 0.95 in the paper."""


class UDA(WeakAndStrong):
    """Unsupervised data augmentation (Xie et al. 2019): temperature 0.4, threshold 0.8."""

    temperature: float = Field(gt=0, le=100, description="sharpens (< 1) the weak view's answer")
    ramp_steps: int = Field(ge=0, description="steps in which the weight rises from 0, linearly")
    confidence: Literal["plain", "sharpened"] = Field(
        "plain", description="what the threshold looks at: before or after the temperature"
    )


class OnlinePseudoLabel(Block):
    """Pseudo-label (Lee 2013): weight 3 in the paper, threshold 0."""

    weight: float = Field(ge=0, le=1000, description="of the loss on unlabelled images")
    threshold: float = Field(ge=0, le=1, description="least confidence of a label")
    start_step: int = Field(ge=0, description="steps with weight 0, at first")
    ramp_steps: int = Field(ge=0, description="steps in which the weight rises after that")


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
        "sum, so many times as strong",
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


class Report(Block):
    """What the last stage may do."""

    test: bool = Field(description="read the test images (switch off while you search)")
    registers: bool = Field(
        alias="register",  # which is also a method of every pydantic model
        description="register the model that ships in MLflow, and move `champion` if it is as good",
    )


AnyModel = Teacher | Generation | MetaPseudoLabels | MetaTeacher | Baseline | Task


def teacher_of(pair: str) -> str:
    """The model that the teacher of an entry of `meta_pseudo_labels` becomes."""
    return f"{pair}-teacher"


class Params(Block):
    """The whole of params.yaml."""

    seed: int = Field(ge=0, description="initial weights, order, augmentation, dropout")
    data: Data
    training: Training
    labels: Labels
    teacher: Teacher
    generations: dict[str, Generation] = Field(description="name: student; `{}` for none")
    meta_pseudo_labels: dict[str, MetaPseudoLabels] = Field(
        description="name: student that corrects its teacher; `{}` for none"
    )
    baselines: dict[str, Baseline] = Field(description="name: yardstick; `{}` for none")
    tasks: dict[str, Task] = Field(description="name: what to learn on top; `{}` for none")
    final: str = Field(description="the model meant to ship")
    report: Report

    def models(self) -> dict[str, AnyModel]:
        """Every model by name, parents before children."""
        waiting: dict[str, AnyModel] = {"teacher": self.teacher, **self.generations}
        for name, spec in self.meta_pseudo_labels.items():
            waiting[name] = spec
            corrected = MetaTeacher(teacher=spec.teacher, training=spec.training)
            waiting[teacher_of(name)] = corrected
        waiting |= self.baselines | self.tasks
        models: dict[str, AnyModel] = {}
        while waiting:
            name = next(n for n in waiting if self.parent(n) in {None, *models})
            models[name] = waiting.pop(name)
        return models

    def parent(self, name: str) -> str | None:
        """The model that taught or was extended into `name`; None for one from labels."""
        if name in self.generations:
            return self.generations[name].teacher
        if pair := self.pair(name):
            return self.meta_pseudo_labels[pair].teacher
        return self.tasks[name].base if name in self.tasks else None

    def pair(self, name: str) -> str | None:
        """The entry of `meta_pseudo_labels` that makes model `name`, as student or as teacher."""
        return next((m for m in self.meta_pseudo_labels if name in (m, teacher_of(m))), None)

    def trio(self, pair: str) -> tuple[str, str, str]:
        """Of an entry of `meta_pseudo_labels`: its teacher before, that teacher after, the
        student."""
        return self.meta_pseudo_labels[pair].teacher, teacher_of(pair), pair

    def calibrated(self, name: str) -> bool:
        """Whether a calibrator stands behind a model's heads: what the teacher of a reduced entry
        of `meta_pseudo_labels` becomes, and what that becomes as a teacher."""
        pair = self.pair(name)
        if pair is None or name == pair:
            return False
        spec = self.meta_pseudo_labels[pair]
        return spec.reduced or self.calibrated(spec.teacher)

    def architecture(self, name: str) -> tuple[str, float]:
        """Network and width of a model, its own or what it comes from."""
        spec = self.models()[name]
        if getattr(spec, "network", None):
            return spec.network, spec.width
        return self.architecture(self.parent(name))

    def taught_by(self, name: str) -> str:
        """What `name` learnt from, for people: a model, labels, or the way of a yardstick."""
        if self.pair(name):
            return f"{self.parent(name)} (meta)"
        if name in self.baselines and self.baselines[name].learner != "supervised":
            return self.baselines[name].learner
        return self.parent(name) or "labels"

    def stage_of(self, name: str) -> str:
        """The DVC stage that makes model `name`."""
        if name in self.tasks:
            return f"extend@{name}"
        if name in self.baselines:
            return f"baseline@{name}"
        if pair := self.pair(name):
            return f"meta_pseudo_labels@{pair}"
        return f"student@{name}" if name in self.generations else name

    def chain(self, name: str) -> list[str]:
        """The models from the first to `name`, each the parent of the next."""
        chain: list[str] = []
        model: str | None = name
        while model:
            chain.insert(0, model)
            model = self.parent(model)
        return chain

    def training_of(self, name: str) -> Training:
        """The shared training block with the overrides of model `name`."""
        return _overridden(self.training, self.models()[name].training)

    def labels_of(self, name: str) -> Labels:
        """The shared labels block with the overrides of generation `name`."""
        return _overridden(self.labels, self.generations[name].labels)


def _overridden(block: Block, override: Block) -> Block:
    return block.model_copy(update={k: getattr(override, k) for k in override.model_fields_set})
