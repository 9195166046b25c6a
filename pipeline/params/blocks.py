"""The blocks of params.yaml that are no model: data, training, labels, report."""

from __future__ import annotations

from copy import copy
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from pipeline.params.names import OptimizerName, SourceName, TransformName


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


class Report(Block):
    """What the last stage may do."""

    test: bool = Field(description="read the test images (switch off while you search)")
    registers: bool = Field(
        alias="register",  # which is also a method of every pydantic model
        description="register the model that ships in MLflow, and move `champion` if it is as good",
    )
