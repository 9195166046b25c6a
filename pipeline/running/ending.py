"""A command's end without the interpreter's teardown, which takes seconds with torch loaded.

Python calls exit handlers in the reverse of their order, after all threads that are not daemons
have ended. This module is imported before all others of ours, so its handler is the last: files are
flushed, locks released, tracker and pools closed by then, and only memory would be taken apart.
"""

import atexit
import os
import sys

_code: int | None = None


def at_once(code: int) -> None:
    """Let the process end with this exit code, and without teardown, once it has come to an end."""
    global _code
    _code = code


def _leave() -> None:
    if _code is None:  # an uncaught exception, or no command of ours
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # nobody reads any more: Python has its own words and exit code for that
        return
    os._exit(_code)


atexit.register(_leave)
