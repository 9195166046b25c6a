"""What was found on the way to a data set, for people: counts, what was left out, look-alikes.

`findings.json` beside the data set holds it: `source`, `root`; `skipped`: path -> why; `converted`
and `ignored`: kind -> number; `copies`: rows of where an exact copy stood, where the one that stays
does, and how many; `near_duplicates`: rows of two paths, their splits and how alike they are, up to
1; `sizes`: rows of width, height and number of files.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeline.core import files

if TYPE_CHECKING:
    from pipeline.sources.copies import Copies
    from pipeline.sources.images import Notes
    from pipeline.sources.options import Data

NAME = "findings.json"
SCHEMA = 1


class Alike(NamedTuple):
    """Two images that seem to show one picture."""

    path: str
    other: str
    split: str
    other_split: str
    similarity: float


def write(folder: Path, data: Data, notes: Notes, copies: Copies, alike: list[Alike]) -> dict:
    """Write `findings.json`; returns what is in it."""
    findings = {
        "schema": SCHEMA,
        "source": data.source,
        "root": data.root,
        "skipped": dict(notes.skipped),
        "converted": dict(notes.converted),
        "ignored": dict(notes.ignored),
        "sizes": [[width, height, num] for (width, height), num in notes.sizes.items()],
        "copies": [[*where, num] for where, num in sorted(copies.left_out.items())],
        "near_duplicates": [list(pair) for pair in alike],
    }
    return files.write_sealed(folder / NAME, findings)


def read(folder: Path) -> dict:
    """The findings beside a data set.

    Raises:
        UserError: missing, of another version, or changed since.
    """
    return files.read_sealed(folder / NAME, SCHEMA)


def warnings(findings: dict) -> list[str]:
    """What a person should know before an hour is spent, a sentence each."""
    said = []
    if findings["skipped"]:
        said.append(f"{len(findings['skipped'])} files cannot be read and are left out")
    for where, kept, num in findings["copies"]:
        if (where, kept) != ("labelled", "labelled") and where != kept:
            said.append(f"{num} {where} images are {kept} images too and are left out")
    held = [pair for pair in findings["near_duplicates"] if {"val", "test"} & {pair[2], pair[3]}]
    if held:
        said.append(f"{len(held)} val or test images have a near-duplicate in another split")
    return said
