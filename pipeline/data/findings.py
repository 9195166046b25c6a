"""What was found on the way to a data set, for people: counts, what was left out, look-alikes.

`findings.json` beside the data set holds it: `source`, `root`; `skipped`: path -> why; `converted`
and `ignored`: kind -> number; `copies`: rows of where an exact copy stood, where the one that stays
does, and how many; `near_duplicates`: rows of two paths, their splits and how alike they are, up to
1, or null where they were not looked for; `sizes`: rows of width, height and number of files, the
most frequent first.
"""

from pathlib import Path

from pipeline.core import files

NAME = "findings.json"
SCHEMA = 1
COMMAND = "`python -m pipeline duplicates`"


def write(folder: Path, findings: dict) -> dict:
    """Write `findings.json`; returns what is in it."""
    return files.write_sealed(folder / NAME, {"schema": SCHEMA, **findings})


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
        said.append(f"files that cannot be read and are left out: {len(findings['skipped'])}")
    for where, kept, num in findings["copies"]:
        if where != kept:
            said.append(f"{where} images that are {kept} images too and are left out: {num}")
    pairs = findings["near_duplicates"]
    if pairs is None:
        said.append(f"near-duplicates were not looked for among so many images: {COMMAND} does")
        pairs = []
    held = [where for *_, one, other, _ in pairs if (where := {one, other}) & {"val", "test"}]
    across = sum(len(where) == 2 for where in held)
    if across:
        said.append(f"near-duplicates of val or test images in another split: {across}")
    return said
