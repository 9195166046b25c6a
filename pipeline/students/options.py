"""The blocks of params.yaml that are models from the base task's images."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from pipeline.core.block import Block, Fault
from pipeline.methods.semi_supervised import SEMI_SUPERVISED
from pipeline.networks import architecture_of
from pipeline.networks.name import NetworkName
from pipeline.networks.pretrained import Pretrained
from pipeline.students.brought import Brought
from pipeline.training.method import methods_block
from pipeline.training.model import ModelConfig
from pipeline.training.recipe import FineTune, TrainingOverride

Methods = methods_block(SEMI_SUPERVISED)


class Model(Block):
    """What every trained model states."""

    network: NetworkName = Field(
        description="architecture; `timm/<name>` as well, where timm is installed"
    )
    width: float = Field(
        1.0, gt=0, le=16, description="multiplies the channels; 1 for `torchvision/` and `timm/`"
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

    def conflicts(self, config: ModelConfig) -> Iterator[Fault]:
        """What is wrong with this block where it stands."""
        yield from config.faults()
        yield from self._size_faults(config)
        frozen, train = config.training.features == "frozen", config.training.train
        if self.pretrained or getattr(self, "init", "") == "teacher":
            return
        fix = "begin with `pretrained`, or with `init: teacher`, or"
        if frozen:
            what = f"frozen, the random features of '{config.name}' say little"
            yield Fault("training.features", what, f"{fix} use trained")
        elif train != "all":
            what = f"'{train}' leaves random weights of '{config.name}' as they are"
            yield Fault("training.train", what, f"{fix} train `all`")

    def _size_faults(self, config: ModelConfig) -> Iterator[Fault]:
        """Another resolution than the only one that its network takes."""
        exact = architecture_of(config.network).exact_side
        recipes = {"training": config.training, "fine_tune": self.fine_tune}
        for key, recipe in recipes.items():
            if exact and recipe and recipe.image_size != exact:
                what = f"'{config.network}' takes images of {exact}x{exact} alone"
                yield Fault(f"{key}.image_size", what, f"set it to {exact} for '{config.name}'")


class Teacher(Model):
    """The first model: from labels, and from unlabelled images by its methods; or brought."""

    methods: Methods = Field(Methods(), description="what it learns by besides its labels")
    from_: Brought | None = Field(
        None, alias="from", description="a model to take as it is in the place of training one"
    )

    def conflicts(self, config: ModelConfig) -> Iterator[Fault]:
        """Besides: keys of a training that does not take place."""
        if not self.from_:
            yield from super().conflicts(config)
            return
        for key in ("pretrained", "training", "fine_tune", "methods"):
            if key in self.model_fields_set:
                yield Fault(key, f"'{config.name}' is taken as it is", "leave it out, or `from`")


class Baseline(Teacher):
    """A model from the same images by another way, to compare with: like a teacher."""


class Student(Model):
    """What students of a teacher have in common."""

    teacher: str = Field(description="the model that labels the unlabelled images")
    init: Literal["scratch", "teacher"] = Field(
        "scratch", description="begin with fresh weights, or with the teacher's"
    )

    def conflicts(self, config: ModelConfig) -> Iterator[Fault]:
        """Besides: a student that cannot begin with its teacher's weights."""
        yield from super().conflicts(config)
        if self.init != "teacher":
            return
        teacher = config.parent
        if (config.network, config.width) != (teacher.network, teacher.width):
            what = f"'{config.name}' is another network than its teacher '{teacher.name}'"
            yield Fault("init", what, "give both one network and width")
        if self.pretrained:
            what = "cannot begin with a file's weights and with its teacher's"
            yield Fault("pretrained", what, "leave out `pretrained` or `init`")
        if teacher.calibrated:
            what = f"'{teacher.name}' has a calibrator, which '{config.name}' has not"
            yield Fault("init", what, "leave out `init`")
