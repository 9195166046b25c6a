"""What the rules know of the images, and which of them are val and test."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.core.block import LabelsPerClass
from pipeline.proposal.sample import Headers
from pipeline.sources.images import Found
from pipeline.sources.listing import HELD

SHARE = 0.2  # for val, and for test where there is one
ENOUGH = 1_000  # images: a share that gives more is lowered
WORTH_A_TEST = 1_000  # labelled images, from which on some may be kept for test


class Facts(NamedTuple):
    """Of the images, before a recipe is chosen.

    Attributes:
        num_classes: of the base task.
        labelled: images that train with their label.
        unlabelled: images that train without, whether they have none or it is hidden.
        val, test: images of them.
        val_share, test_share: of the labelled images; 0 where the source brings its own, or none.
        files: images in all.
        side: shorter side that nearly all photos have at least, in pixels.
        colour: whether most have any.
        labels_per_class: as asked for.
    """

    num_classes: int
    labelled: int
    unlabelled: int
    val: int
    test: int
    val_share: float
    test_share: float
    files: int
    side: int
    colour: bool
    labels_per_class: LabelsPerClass


def facts(found: Found, headers: Headers, labels_per_class: LabelsPerClass) -> Facts:
    """From what a source has."""
    labels = sum(found.training.values())
    held = {name: sum(found.held.get(name, {}).values()) for name in HELD}
    val = 0.0 if "val" in found.held else _share(labels)
    test = 0.0 if "test" in found.held or labels < WORTH_A_TEST else _share(labels)
    training = labels - round(labels * val) - round(labels * test)
    kept = training
    if labels_per_class != "all":
        kept = min(training, labels_per_class * len(found.training))
    return Facts(
        num_classes=len(found.training),
        labelled=kept,
        unlabelled=found.unlabelled + training - kept,
        val=held["val"] or round(labels * val),
        test=held["test"] or round(labels * test),
        val_share=val,
        test_share=test,
        files=labels + found.unlabelled + sum(held.values()),
        side=headers.side,
        colour=headers.colour,
        labels_per_class=labels_per_class,
    )


def _share(labels: int) -> float:
    """Of so many images, enough to measure on and not more than `SHARE`."""
    return round(max(0.05, min(SHARE, ENOUGH / max(1, labels))), 2)
