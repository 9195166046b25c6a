"""Signal handling: stop at once, or, in training, at the end of the step with a checkpoint kept.

SIGINT ends with exit code 130, SIGTERM with 143. A stage that DVC started also stops when DVC is
gone: else a killed `dvc repro` would leave its trainer writing while the next one does.
"""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator

_deferred = 0  # contexts that a signal waits for
_pending: int | None = None


def install() -> None:
    """Make SIGINT and SIGTERM end the process through its `finally` blocks."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _handle)
    if os.environ.get("DVC_STAGE"):
        end_with_parent()


def end_with_parent() -> None:
    """Be sent SIGTERM when the process that started this one is gone (Linux; else nothing)."""
    if sys.platform == "linux":
        parent_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGTERM)


class Stop:
    """Whether a signal waits."""

    @property
    def code(self) -> int | None:
        """The exit code of the signal that waits; None if there is none."""
        return _pending


@contextlib.contextmanager
def deferred() -> Iterator[Stop]:
    """Within, a first signal waits, at most until the end of the context."""
    global _deferred
    _deferred += 1
    try:
        yield Stop()
    finally:
        _deferred -= 1
    if _pending:
        sys.exit(_pending)


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Within, inside of `deferred`, no signal waits: one that does already ends the process."""
    global _deferred
    before, _deferred = _deferred, 0
    try:
        if _pending:
            sys.exit(_pending)
        yield
    finally:
        _deferred = before


def _handle(number: int, _: object) -> None:
    global _pending
    second, _pending = _pending is not None, 128 + number
    if second or not _deferred:
        sys.exit(_pending)
