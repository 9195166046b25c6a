"""A progress bar where somebody watches; silence elsewhere."""

import sys

from tqdm import tqdm


def progress(total: int, done: int, name: str) -> tqdm:
    """A bar from `done` to `total` steps on stderr; without a terminal it prints nothing."""
    quiet = not sys.stderr.isatty()
    return tqdm(total=total, initial=done, desc=name, unit="step", disable=quiet, leave=False)
