"""Some 90 odd and bad files, each with what is to become of it: the same bytes every time."""

from pathlib import Path

import odd_bad
import odd_formats
import odd_modes
from odd_kind import Odd

READABLE: list[Odd] = [
    *odd_formats.PLAIN,
    *odd_formats.MOVING,
    *odd_formats.HELD,
    *odd_modes.GREYS,
    *odd_modes.COLOURS,
    *odd_modes.TRANSPARENT,
    *odd_modes.DEEPER,
]
BAD: list[Odd] = [*odd_bad.BROKEN, *odd_bad.OTHERS, *odd_bad.HUGE]
SPECIAL: list[Odd] = odd_bad.SPECIAL
ODD = [*READABLE, *BAD, *SPECIAL]


def write(folder: Path, files: list[Odd] = ODD) -> list[Odd]:
    """Put files into a folder, which is made where it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        file.write(folder)
    return files
