"""The entry of every command: its arguments, its errors in one line, its exit code."""

import os
import select
import sys
import time
from collections.abc import Callable, Iterable, Sequence

from pipeline.core import memory
from pipeline.core.errors import UserError, nearest
from pipeline.running import ending, signals, times

UNHEARD = 141  # as of other programs that SIGPIPE ends


def enter(main: Callable[[Sequence[str]], None]) -> None:
    """Call `main` with the command line and record its wall time; a `UserError` becomes its lines
    on stderr and exit code 2, SIGINT and SIGTERM exits that end the tracker's run; one whose
    output nobody reads any more ends without a word."""
    signals.install()
    if _is_ours(main):
        memory.keep_freed_memory()
    started = time.monotonic()
    try:
        main(sys.argv[1:])
        times.record(time.monotonic() - started)
        _end(main, 0)
    except UserError as error:
        for line in error.lines:
            print(line, file=sys.stderr)  # noqa: T201 (the one place that speaks to the user)
        _end(main, 2)
        sys.exit(2)
    except BrokenPipeError:
        if not _unheard():
            raise
        _end(main, UNHEARD)
        sys.exit(UNHEARD)
    except SystemExit as stop:
        if isinstance(stop.code, int):
            _end(main, stop.code)
        raise


def _unheard() -> bool:
    """Whether nobody reads stdout any more, say `head`, which has seen enough; if so, nothing is
    written there from now on."""
    output = select.poll()
    output.register(sys.stdout, 0)  # which reports nothing but errors
    if not output.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _end(main: Callable, code: int) -> None:
    if _is_ours(main):
        ending.at_once(code)


def _is_ours(main: Callable) -> bool:
    """Whether the process runs this command alone, and not, say, tests that call it."""
    return main.__module__ == "__main__"


def no_argument(stage: str, argv: Sequence[str]) -> None:
    """Refuse words on the command line of a stage that takes none.

    Raises:
        UserError: there are some.
    """
    if argv:
        what = f"takes no argument, '{' '.join(argv)}' is given"
        raise UserError(f"stages.{stage}", what, "leave it out")


def argument(stage: str, names: Iterable[str], argv: Sequence[str]) -> str:
    """The model's name on the command line.

    Raises:
        UserError: none, or one that params.yaml does not have.
    """
    if len(argv) != 1 or argv[0] not in names:
        given = " ".join(argv)
        what = f"'{given}' names no model of params.yaml" if given else "no name given"
        raise UserError(f"stages.{stage}", what, nearest(given, names))
    return argv[0]
