"""What the stage scripts share: their one argument, or none."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from pipeline.errors import UserError, nearest


def no_argument(stage: str) -> None:
    """Refuse words on the command line of a stage that takes none.

    Raises:
        UserError: there are some.
    """
    if sys.argv[1:]:
        what = f"takes no argument, '{' '.join(sys.argv[1:])}' is given"
        raise UserError(f"stages.{stage}", what, "leave it out")


def argument(stage: str, names: Iterable[str], argv: list[str] | None) -> str:
    """The model's name on the command line.

    Raises:
        UserError: none, or one that params.yaml does not have.
    """
    given = sys.argv[1:] if argv is None else argv
    if len(given) != 1 or given[0] not in names:
        what = f"'{' '.join(given)}' names no model of params.yaml" if given else "no name given"
        raise UserError(f"stages.{stage}", what, nearest(" ".join(given), names))
    return given[0]
