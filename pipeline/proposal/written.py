"""A proposal becomes a file; what stood there before is kept."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pipeline.core import files
from pipeline.core.errors import UserError


def refuse_own(path: Path) -> None:
    """Keep a file that a person has changed: one with other bytes than git has.

    Raises:
        UserError: it is there and git has not this version of it.
    """
    if path.is_file() and _committed(path) != path.read_bytes():
        what = "is there, with changes that git does not have"
        fix = f"use `--force`, which keeps it as {_backup(path)}, or `--out` for another file"
        raise UserError(str(path), what, fix)


def write(path: Path, text: str) -> Path | None:
    """Write the file; returns where the one before it is kept now."""
    kept = _backup(path) if path.is_file() else None
    if kept:
        files.write_bytes(kept, path.read_bytes())
    files.write_text(path, text)
    return kept


def _committed(path: Path) -> bytes | None:
    """The file as git has it; None where it has none, or is not there itself."""
    command = ["git", "show", f"HEAD:./{path.name}"]
    try:
        done = subprocess.run(command, cwd=path.parent, capture_output=True)
    except FileNotFoundError:
        return None
    return None if done.returncode else done.stdout


def _backup(path: Path) -> Path:
    """A name that is free."""
    names = (path.with_name(f"{path.name}.bak{num or ''}") for num in range(1000))
    return next(name for name in names if not name.exists())
