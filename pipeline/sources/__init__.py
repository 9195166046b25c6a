"""Where images come from.

A source is a module, or an object, with

    read(data, wanted) -> Images        all images of the classes that are wanted, and those without
                                        a label
    KEYS                                the optional keys of the block `data` that it obeys

and perhaps

    faults(data) -> Iterator[Fault]     what its own images cannot be asked for
    look(data, wanted) -> Found         what there is, without reading a pixel: for `check`
    KIND                                `segmentation`, where images come with the class of each
                                        pixel

Images in files come from a `Listing`, which does both.
"""

from pipeline.data.kinds import CLASSIFICATION
from pipeline.sources import arrays, digit_scenes, digits, folder, manifest, torchvision

SOURCES = {
    "arrays": arrays,
    "digits": digits,
    "digit_scenes": digit_scenes,
    "folder": folder,
    "manifest": manifest,
    **torchvision.SOURCES,
}


def kind(source: str) -> str:
    """What models of a source's images answer: `classification` or `segmentation`."""
    return getattr(SOURCES[source], "KIND", CLASSIFICATION)
