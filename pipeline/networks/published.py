"""A file of weights that a library publishes."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Published(NamedTuple):
    """A file of weights that can be had from the network.

    Attributes:
        name: the library's; that of the weights themselves where it has several for them.
        file: its name.
        digits: that its sha256 begins with, as the library says; "" where it does not.
        normalisation: `mean` and `std` of each channel that they were learnt with.
        folder: where the file may be put by hand; "" where that is not to be done.
        cached: where it is, if it is on this machine.
        fetch: downloads it, and says where it is.
    """

    name: str
    file: str
    digits: str
    normalisation: dict[str, list[float]]
    folder: str
    cached: Callable[[], Path | None]
    fetch: Callable[[], Path]
