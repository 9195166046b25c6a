"""The block `data` of params.yaml."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from pipeline.core.block import Block, ClassName, Fault, LabelsPerClass, repeated
from pipeline.sources import SOURCES

PathName = Annotated[str, Field(min_length=1)]
OPTIONAL = ("size", "unlabelled", "manifest", "on_bad_image")  # of some sources alone


class Data(Block):
    """Where the images come from and how they are split."""

    source: Literal[tuple(SOURCES)] = Field(description="which reader of images to use")
    root: str = Field(
        min_length=1, description="folder of the images; a change in it re-runs `prepare`"
    )
    unlabelled: list[PathName] = Field(
        [],
        description="folders below `root` of images without labels, however they are nested",
    )
    manifest: list[PathName] = Field(
        [],
        description="CSV or Parquet files below `root` that name images with their labels and "
        "splits: see [data](data.md)",
    )
    size: int = Field(
        0, ge=0, le=4096, description="side to store images at, in pixels; 0 = as they are"
    )
    classes: list[ClassName] = Field(
        min_length=2, description="classes of the base task, in order; others are kept for tasks"
    )
    labels_per_class: LabelsPerClass = Field(
        description="labelled training images of each class: `all` that there are, or a number, "
        "beyond which labels are hidden, for an experiment",
        union_mode="left_to_right",
    )
    val: float = Field(
        ge=0,
        lt=1,
        description="share of the images with labels for validation; 0 where the source brings "
        "its own",
    )
    test: float = Field(
        ge=0,
        lt=1,
        description="share of the images with labels for test; 0 where the source brings its own, "
        "or for none",
    )
    fold: int = Field(
        0,
        ge=0,
        description="which images are val: `python -m pipeline cross-validate` goes through all "
        "folds",
    )
    on_bad_image: Literal["error", "skip"] = Field(
        "error",
        description="what to do about files that cannot be read: name them all and stop, "
        "or leave them out and list them in the data report",
    )
    on_duplicate: Literal["error", "remove"] = Field(
        "error",
        description="what to do about training images with the pixels of a val or test "
        "image that the source brings: stop, or leave them out",
    )
    seed: int = Field(ge=0, description="which images are labelled, val and test")

    @property
    def folds(self) -> int:
        """How many disjoint choices of val there are."""
        return int(round((1 - self.test) / self.val, 9)) if self.val else 1

    def faults(self) -> Iterator[Fault]:
        """Classes named twice, splits that leave nothing, what the source cannot give."""
        twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
        if twice:
            yield Fault("classes", f"classes named twice: {', '.join(twice)}", "keep one")
        yield from repeated("unlabelled", self.unlabelled)
        yield from repeated("manifest", self.manifest)
        if self.val + self.test >= 1:
            what = f"val + test = {self.val + self.test:g} leaves nothing to train on"
            yield Fault("test", what, "keep val + test under 1, say 0.15 + 0.25")
        elif self.fold >= self.folds:
            what = f"with val {self.val:g} and test {self.test:g} there are {self.folds} folds"
            yield Fault("fold", what, f"choose one of 0 to {self.folds - 1}")
        source = SOURCES[self.source]
        for key in OPTIONAL:
            if key in self.model_fields_set and key not in source.KEYS:
                yield Fault(key, f"the source '{self.source}' does not use it", "leave it out")
        yield from getattr(source, "faults", lambda _: ())(self)
