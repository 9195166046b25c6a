"""What distillation losses share: a teacher's answers to the images of the joint pass.

The teacher sees the very pixels that the student is trained on, labelled and unlabelled, in
evaluation mode; a loss is the mean over all images of a step. Methods of one training share one
pass of the teacher, or none where its answers were recorded because no view changes an image.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field
from torch import Tensor

from pipeline.core.block import Block, Fault
from pipeline.core.errors import UserError
from pipeline.data.batches import Part
from pipeline.data.kinds import CLASSIFICATION, SEGMENTATION
from pipeline.networks.classifier import Classifier, Output
from pipeline.networks.feature_maps import has_places, last_spatial, outputs
from pipeline.training.method import Method, Setting

LayerName = Annotated[str, Field(min_length=1)]


class Taught(Method, ABC):
    """Learns from a teacher."""

    name: str  # of its loss
    kinds = (CLASSIFICATION, SEGMENTATION)
    capturable = True

    def start(self, setting: Setting) -> None:
        """Take the teacher."""
        self.teaching = setting.teaching

    def losses(
        self, network: Classifier, batch: dict[str, Part], output: Output
    ) -> Mapping[str, Tensor]:
        """The loss under the method's name."""
        return {self.name: self.loss(batch, output, self.teaching(batch))}

    @abstractmethod
    def loss(self, batch: dict[str, Part], output: Output, taught: Output) -> Tensor:
        """The weighted loss, a number.

        Args:
            output: the student's, for all images of the batch.
            taught: the teacher's, for the same.
        """


class OfLayers(Taught):
    """Compares inner layers, a pair at a time."""

    class Options(Block):
        """Of methods that compare inner layers."""

        teacher_layers: list[LayerName] = Field(
            [],
            description="layers of the teacher, as `named_modules` has them; `[]` = the last that "
            "has places",
        )
        student_layers: list[LayerName] = Field(
            [], description="layers of the student that are to be like these, in the same order"
        )

        def faults(self) -> Iterator[Fault]:
            """Layers without a partner."""
            num, others = len(self.teacher_layers), len(self.student_layers)
            if num != others:
                what = f"{others} layers cannot be like {num} of the teacher"
                yield Fault("student_layers", what, "name as many of each")

    def start(self, setting: Setting) -> None:
        """Find the layers, and let both networks give their outputs.

        Raises:
            UserError: a layer that a network does not have, or that has no places.
        """
        super().start(setting)
        shape = setting.images.dataset.image_shape
        teacher, student = self.teaching.network, setting.network
        theirs = self.options.teacher_layers or [last_spatial(teacher, shape)]
        self.layers = tuple(self.options.student_layers or [last_spatial(student, shape)])
        self.pairs = list(zip(self.layers, theirs))
        block = f"distilled.{setting.name}.methods.{self.name}"
        self.sizes = [
            (
                spatial(student, mine, shape, f"{block}.student_layers"),
                spatial(teacher, their, shape, f"{block}.teacher_layers"),
            )
            for mine, their in self.pairs
        ]
        self.teaching.want(theirs)

    def maps(self, output: Output, taught: Output) -> list[tuple[Tensor, Tensor]]:
        """The student's and the teacher's of each pair, (N, C, H, W), (N, C', H', W')."""
        return [(output.maps[mine], taught.maps[their]) for mine, their in self.pairs]


def spatial(network: Classifier, layer: str, shape: tuple, key: str) -> tuple[int, int, int]:
    """The shape (C, H, W) of what a layer puts out for an image of a shape.

    Args:
        key: that names the layer.

    Raises:
        UserError: no such layer, or one whose output has no places, naming those that have.
    """
    sizes = outputs(network, shape)
    maps = [name for name, size in sizes.items() if has_places(size)]
    if layer not in maps:
        why = "gives no map of places" if layer in sizes else "is not there"
        fix = f"use one of: {', '.join(maps)}"
        raise UserError(key, f"layer '{layer}' {why}", fix)
    return sizes[layer]
