"""Files that cannot be read, for people."""

from __future__ import annotations

from pipeline.core.errors import UserError
from pipeline.pages.formats import counted
from pipeline.predict.found import shown

SHOWN = 20  # named one by one


def unreadable(faults: dict[str, str], fix: str = "replace or remove it") -> list[UserError]:
    """The first files that something is wrong with, and how many more there are.

    Args:
        faults: what is wrong, by path.
    """
    errors = [UserError(shown(path), what, fix) for path, what in list(faults.items())[:SHOWN]]
    more = len(faults) - SHOWN
    if more > 0:
        what = f"{counted(more, 'more file')} like these ({len(faults):,} in all)"
        errors.append(UserError("predict", what, fix))
    return errors
