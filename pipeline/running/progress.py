"""How far a long run is: a bar where somebody watches, a line now and then in a log."""

import sys
from typing import TextIO

from tqdm import tqdm

EVERY = 30.0  # seconds between lines in a log
LINE = "{desc}: {n_fmt} of {total_fmt}{unit}s, {rate_fmt}, {remaining} left{postfix}"


class _Lines:
    """A stream that gets what a bar redraws as lines of their own."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> None:
        if text := text.strip():
            self._stream.write(f"{text}\n")

    def flush(self) -> None:
        self._stream.flush()


def progress(total: int, done: int, name: str, unit: str = "step") -> tqdm:
    """A bar from `done` to `total` units on stderr, with their rate and the time that is left;
    without a terminal a line each half minute."""
    task = {"total": total, "initial": done, "desc": name, "unit": f" {unit}", "leave": False}
    if sys.stderr.isatty():
        return tqdm(**task, file=sys.stderr)
    return tqdm(**task, file=_Lines(sys.stderr), mininterval=EVERY, delay=EVERY, bar_format=LINE)
