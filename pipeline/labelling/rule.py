"""How a teacher's probabilities become pseudo-labels: the block `labels` of params.yaml."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from pipeline.core.block import Block, Fault, override_of, repeated
from pipeline.labelling.foreign import SCORES
from pipeline.labelling.transforms import Transforms


class Labels(Block):
    """How a teacher's probabilities become pseudo-labels, in this order."""

    transforms: Transforms = Field(
        ["identity"],
        min_length=1,
        description="the teacher answers each image under all of these, and the mean of its "
        "probabilities counts; `[identity]` is the plain answer",
    )
    ood_filter: Literal[("none", *SCORES)] = Field(
        "none",
        description="drop images that look like none of the classes: by their largest probability "
        "(`threshold`) or by the `energy` of their logits",
    )
    ood_keep: float = Field(
        0.95,
        gt=0,
        le=1,
        description="share of the val images that pass `ood_filter`, which sets its cut",
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

    def faults(self) -> Iterator[Fault]:
        """A transform that would count twice in the mean."""
        yield from repeated("transforms", self.transforms)


LabelsOverride = override_of(Labels)
