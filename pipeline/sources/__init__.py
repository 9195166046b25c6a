"""Where images come from.

A source is a module, or an object, with

    read(data, wanted) -> Images        all images of the classes that are wanted, and those without
                                        a label
    KEYS                                the optional keys of the block `data` that it obeys

and perhaps

    faults(data) -> Iterator[Fault]     what its own images cannot be asked for
    look(data, wanted) -> Found         what there is, without reading a pixel: for `check`

Images in files come from a `Listing`, which does both.
"""

from pipeline.sources import arrays, digits, folder, manifest, torchvision

SOURCES = {
    "arrays": arrays,
    "digits": digits,
    "folder": folder,
    "manifest": manifest,
    **torchvision.SOURCES,
}
