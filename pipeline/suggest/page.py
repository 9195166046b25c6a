"""`report/suggestions/index.html`: a contact sheet of the images to label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.core import files
from pipeline.pages.formats import percent, short
from pipeline.pages.render import environment
from pipeline.pages.thumbnails import LARGEST, thumbnail
from pipeline.sources import decoder
from pipeline.suggest.table import Suggestion

TEMPLATES = Path(__file__).with_name("templates")
LETTERS = 40


def write(
    path: Path,
    suggestions: Sequence[Suggestion],
    stored: Sequence[np.ndarray],
    *,
    root: Path,
    table: Path,
    models: Sequence[str],
) -> None:
    """Write the page; equal inputs give equal bytes.

    Args:
        stored: the images as they are prepared, uint8 (C, H, W).
        root: of their paths; an image's own file shows more than a small copy.
        table: the file to fill in.
        models: that were asked.
    """
    tiles = [
        {
            "image": thumbnail(picture(root / one.path, image)),
            "name": one.path,
            "lines": lines(number, one),
        }
        for number, (one, image) in enumerate(zip(suggestions, stored), 1)
    ]
    page = environment(TEMPLATES).get_template("suggestions.html")
    files.write_text(path, page.render(tiles=tiles, table=str(table), models=list(models)))


def lines(number: int, one: Suggestion) -> list[str]:
    """What stands below an image."""
    answer = f"{short(one.answer, LETTERS)} {percent(one.probability, 0)}"
    return [f"{number}. {Path(one.path).name}", answer, one.why]


def picture(path: Path, stored: np.ndarray) -> np.ndarray:
    """The pixels of a file, uint8 (3, H, W), or those stored where there is no such file now."""
    if not path.is_file():
        return stored
    try:
        pixels = decoder.decode(str(path), LARGEST)
    except Exception:  # it is another file by now, and a broken one can fail in any way
        return stored
    shape = (len(decoder.CHANNELS), pixels.height, pixels.width)
    return np.frombuffer(pixels.data, np.uint8).reshape(shape)
