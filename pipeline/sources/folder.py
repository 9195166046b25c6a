"""Images in a folder for each class, `<root>/<class>/<file>`.

Where the root holds a folder `train` (and perhaps `val` and `test`), the classes are one level
deeper, `<root>/train/<class>/<file>`, and the images of `val` and `test` stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.core.errors import UserError
from pipeline.sources.images import Images

if TYPE_CHECKING:
    from pipeline.sources.options import Data

GIVEN = ("test", "val", "train")  # of exact copies the first is kept: never one to learn from
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "La", "RGBa")
SHOWN = 20  # faults named one by one


class _File(NamedTuple):
    path: Path
    label: str
    given: str


def read(data: Data) -> Images:
    """Read every image below `data.root`, in the order of the names.

    Images become RGB, upright by their EXIF tag. With `data.size` the shorter side is resized to it
    (antialiased bilinear) and the middle square kept; without, all must be of one size.
    Hidden files are left out.

    Raises:
        UserError: no such folder, no images, images that cannot be read or are of several sizes;
            all bad files in one pass.
    """
    root = Path(data.root)
    files = list(_files(root))
    if not files:
        what = "holds no images" if root.is_dir() else "no such folder"
        raise UserError(str(root), what, "put a folder of images for each class there")
    classes = sorted({folder.name for _, folder in _folders(root)})  # the empty ones too
    images, faults = [], []
    for file in files:
        try:
            images.append(_image(file.path, data.size))
        except Exception as error:  # a broken file can fail in any way: bad EXIF is a SyntaxError
            faults.append(UserError(str(file.path), _reason(error), "replace or remove it"))
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1 and not faults:
        some = ", ".join(f"{s[1]}x{s[0]}" for s in shapes[:3])
        what = f"images of {len(shapes)} sizes ({some}{', ...' if len(shapes) > 3 else ''})"
        raise UserError(str(root), what, "set data.size, the side to store them at")
    if faults:
        raise UserError.all(_shortened(root, faults))
    given = np.array([file.given for file in files])
    return Images(
        image=np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2)),
        label=np.array([classes.index(file.label) for file in files], dtype=np.int64),
        classes=classes,
        path=[str(file.path.relative_to(root)) for file in files],
        given=given if (root / "train").is_dir() else None,
    )


def _files(root: Path) -> Iterator[_File]:
    for given, folder in _folders(root):
        yield from (_File(path, folder.name, given) for path in _visible(folder))


def _folders(root: Path) -> Iterator[tuple[str, Path]]:
    """The folder of every class, and the split that it stands in."""
    splits = [name for name in GIVEN if (root / name).is_dir()] if (root / "train").is_dir() else []
    for given in splits or [""]:
        yield from ((given, folder) for folder in _visible(root / given) if folder.is_dir())


def _visible(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    names = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in names if path.name != "Thumbs.db")


def _image(path: Path, size: int) -> np.ndarray:
    """uint8 (H, W, 3)."""
    with Image.open(path, formats=FORMATS) as image:
        if image.mode not in EIGHT_BITS:  # their conversion to RGB saturates
            raise ValueError(f"is of mode {image.mode}, not eight bits a channel")
        upright = ImageOps.exif_transpose(image).convert("RGB")
    if not size:
        return np.asarray(upright)
    return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.BILINEAR))


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"is no image of the formats {', '.join(FORMATS)}"
    if isinstance(error, ValueError):
        return str(error)
    return f"cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__})"


def _shortened(root: Path, faults: list[UserError]) -> list[UserError]:
    """The first faults, and how many more there are."""
    more = len(faults) - SHOWN
    if more <= 0:
        return faults
    what = f"{more} more images cannot be read ({len(faults)} in all)"
    return [*faults[:SHOWN], UserError(str(root), what, "replace or remove them")]
