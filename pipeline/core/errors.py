"""What a user sees when something is wrong: one line per fault, exit code 2, no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """One or more faults that a user can mend.

    Args:
        where: the file, file:line or key at fault.
        what: what is wrong with it.
        fix: what to do about it.
    """

    def __init__(self, where: str, what: str, fix: str):
        self.lines = [_printable(f"error: {where}: {what}; fix: {fix}")]
        super().__init__(self.lines[0])

    def __reduce__(self) -> tuple:
        """Copied between processes by its lines; else a study would hear of a broken pool."""
        return _with_lines, (self.lines,)

    @classmethod
    def all(cls, errors: Iterable[UserError]) -> UserError:
        """One error that reports every line of several, each once, in their order."""
        return _with_lines(list(dict.fromkeys(line for e in errors for line in e.lines)))


def _printable(line: str) -> str:
    """The line as one line: what a file's name may hold is neither an end of it nor an order to a
    terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def _with_lines(lines: list[str]) -> UserError:
    error = UserError("", "", "")
    error.lines, error.args = lines, ("\n".join(lines),)
    return error


def nearest(name: str, names: Iterable[str]) -> str:
    """The half-sentence that helps with a mistyped `name`, given the `names` that exist."""
    names = sorted(map(str, names))
    close = [known for known in names if known.endswith(f"/{name}")]
    close += difflib.get_close_matches(str(name), names, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"use one of: {', '.join(names)}" if names else "remove it"
