"""What arms of a timing call, in a module that a fresh process imports at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def noting(file: Path, name: str) -> Callable[[], object]:
    """An arm's call: a line with its name and the process that it is in."""

    def note() -> None:
        with file.open("a") as lines:
            lines.write(f"{name} {os.getpid()}\n")

    return note


def failing() -> Callable[[], object]:
    """An arm that cannot be made."""
    raise RuntimeError("this arm cannot be made")
