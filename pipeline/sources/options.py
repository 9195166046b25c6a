"""The block `data` of params.yaml."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from pipeline.core.block import Block, ClassName, Fault
from pipeline.sources import SOURCES


class Data(Block):
    """Where the images come from and how they are split."""

    source: Literal[tuple(SOURCES)] = Field(description="which reader of images to use")
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

    def faults(self) -> Iterator[Fault]:
        """Classes named twice, splits that leave nothing, what the source cannot give."""
        twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
        if twice:
            yield Fault("classes", f"classes named twice: {', '.join(twice)}", "keep one")
        if self.val + self.test >= 1:
            what = f"val + test = {self.val + self.test:g} leaves nothing to train on"
            yield Fault("test", what, "keep val + test under 1, say 0.15 + 0.25")
        yield from getattr(SOURCES[self.source], "faults", lambda _: ())(self)
