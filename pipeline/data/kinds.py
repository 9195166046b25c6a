"""What a model answers of an image: one class for all of it, or one for each of its pixels."""

from collections.abc import Mapping

CLASSIFICATION, SEGMENTATION = "classification", "segmentation"
UNKNOWN = 255  # in a mask: nobody knows the class of this pixel
BACKGROUND = "background"  # of all pixels that are of no other class; the first class of every mask


def is_dense(card: Mapping) -> bool:
    """Whether a data set or a model is of a class for each pixel, by its card."""
    return card.get("kind", CLASSIFICATION) == SEGMENTATION
