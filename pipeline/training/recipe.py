"""How a model is trained: the block `training` of params.yaml, and `fine_tune`."""

from collections.abc import Iterator
from typing import Literal

import torch
from pydantic import Field

from pipeline.core.block import Block, Fault, override_of
from pipeline.training.sgd import SGD

OPTIMIZERS = {
    "sgd": SGD,
    "adamw": torch.optim.AdamW,
}


class Training(Block):
    """How a model is trained; a model's own `training:` overrides single keys."""

    steps: int = Field(ge=1, description="optimiser updates")
    batch_size: int = Field(ge=1, description="labelled images in a step")
    unlabelled_ratio: float = Field(
        gt=0, le=64, description="unlabelled images in a step, per labelled one"
    )
    unlabelled_weight: float = Field(
        ge=0,
        description="weight of the pseudo-labelled loss; the labelled one weighs 1 (students)",
    )
    optimizer: Literal[tuple(OPTIMIZERS)] = Field(description="`sgd` has Nesterov momentum 0.9")
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
    magnitude_std: float = Field(
        0.0, ge=0, le=30, description="strong view: standard deviation of noise on the magnitude"
    )
    cutout: float = Field(
        0.0,
        ge=0,
        le=1,
        description="strong view: side of a grey square, as a share of the image's shorter side "
        "(Cutout; 0.5 in FixMatch's paper); 0 = none",
    )
    keep: Literal["last", "best"] = Field(
        description="the weights that ship: the last, or those best on val (first of equals)"
    )
    evaluate_every: int = Field(ge=1, description="steps between two evaluations on val")
    train: Literal["all", "fc", "new_head"] = Field(
        "all",
        description="`all` weights, `fc` = the fully connected layers and the heads, or the "
        "`new_head` alone; the others stay as they began",
    )
    features: Literal["trained", "frozen"] = Field(
        "trained",
        description="`frozen`: a linear probe, quick on a CPU: the backbone answers every image "
        "once, without augmentation (with `flip`, the mirrored one too), and the heads alone are "
        "trained on that",
    )

    @property
    def num_unlabelled(self) -> int:
        """Unlabelled images in a step."""
        return max(1, round(self.batch_size * self.unlabelled_ratio))

    def faults(self) -> Iterator[Fault]:
        """A schedule or noise that cannot be."""
        if self.warmup_steps > self.steps:
            what = f"{self.warmup_steps} steps of warm-up, the training has {self.steps}"
            yield Fault("warmup_steps", what, "lower it")
        for key in ("magnitude_std", "cutout"):
            if getattr(self, key) and not self.num_ops:
                what = f"{getattr(self, key):g} for a strong view that num_ops: 0 switches off"
                yield Fault(key, what, "leave it out, or raise num_ops")


TrainingOverride = override_of(Training)


class FineTune(Block):
    """A short clean training at the end: labelled images alone, in the weak view, no model noise;
    perhaps at another resolution (train low, test high)."""

    steps: int = Field(ge=1, description="optimiser updates")
    learning_rate: float = Field(gt=0, le=10, description="peak of the cosine schedule")
    image_size: int = Field(ge=0, le=4096, description="as in `training`; often higher than there")
