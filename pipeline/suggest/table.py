"""The file of suggestions: a CSV that a person fills in, and that then labels the images."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.core import files
from pipeline.core.errors import UserError


class Suggestion(NamedTuple):
    """An image to label.

    Attributes:
        path: from the root of the images on.
        answer: what the last model takes it for.
        probability: of that, calibrated, 0..1.
        why: it was chosen.
    """

    path: str
    answer: str
    probability: float
    why: str

    @property
    def line(self) -> dict[str, str]:
        """Its line of the file, with a label for a person to fill in."""
        values = {"path": self.path, "label": "", "answer": self.answer}
        return values | {"probability": f"{self.probability:.4f}", "why": self.why}


COLUMNS = ("path", "label", "answer", "probability", "why")
DELIMITERS = ",;\t"  # which spreadsheets save with
Lines = list[dict[str, str]]


def read(path: Path) -> Lines:
    """The lines of a file of suggestions or labels; none where there is no file.

    Raises:
        UserError: it is no CSV in UTF-8 with a column `path`.
    """
    if not path.exists():
        return []
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets begin with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(str(path), f"cannot be read ({error})", "save it as CSV in UTF-8") from None
    delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="", delimiter=delimiter)
    lines = []
    for line in reader:
        if "path" not in line:
            what = f"has no column 'path' (but {', '.join(reader.fieldnames)})"
            raise UserError(f"{path}:1", what, "name its columns as they were")
        if None in line:  # where DictReader puts what is too much
            cells, columns = len(line) - 1 + len(line[None]), len(reader.fieldnames)
            what = f"has {cells} cells for {columns} columns"
            raise UserError(f"{path}:{reader.line_num}", what, "put quotes round text with commas")
        lines.append(line)
    return lines


def write(path: Path, before: Lines, added: Sequence[Suggestion]) -> None:
    """Write the lines that stood there with all their columns, and the new ones behind them."""
    lines = [*before, *(one.line for one in added)]
    columns = dict.fromkeys([*(before[0] if before else ()), *COLUMNS])
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    files.write_text(path, text.getvalue())
