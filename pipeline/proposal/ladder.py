"""Networks and image sizes to choose from, by the work that they make."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Rung(NamedTuple):
    """A network, and the side in pixels of the images that it is given.

    Attributes:
        work: million multiplications for an answer to one image.
    """

    side: int
    network: str
    width: float
    work: float


# The best first: the side counts for more than the width, measured up to 32 pixels.
LADDER = [
    Rung(224, "torchvision/resnet18", 1.0, 1800),
    Rung(128, "torchvision/resnet18", 1.0, 590),
    Rung(64, "small_cnn", 1.0, 154),
    Rung(64, "small_cnn", 0.5, 40),
    Rung(48, "small_cnn", 0.5, 22),
    Rung(32, "small_cnn", 1.0, 38),
    Rung(32, "small_cnn", 0.5, 10),
    Rung(24, "small_cnn", 0.5, 5.6),
    Rung(16, "small_cnn", 0.5, 2.5),
    Rung(8, "small_cnn", 1.0, 2.4),
]
FIRST = 10  # work of the rung that is tried first
LEAST_STEPS = 500  # of each training: a rung that leaves time for fewer is too high
ENLARGED = 1.25  # photos may be so much smaller than a rung's side; it takes their own then


def rungs(side: int) -> list[Rung]:
    """Those for photos of a side, the best first: none has more pixels than they have."""
    fit = [rung for rung in LADDER if rung.side <= ENLARGED * side] or LADDER[-1:]
    return [rung._replace(side=min(rung.side, side)) for rung in fit]


def climb(ladder: list[Rung], steps: Callable[[Rung], float]) -> Rung:
    """The best of the rungs that leave time for `LEAST_STEPS`; the last one where none does.

    Args:
        steps: that there is time for on a rung: takes seconds, so rungs near the choice alone are
            asked, the others are judged by their work.
    """
    rung = next((rung for rung in ladder if rung.work <= FIRST), ladder[-1])
    known: dict[Rung, float] = {}
    while rung not in known:
        known[rung] = steps(rung)
        near = known[rung] * rung.work
        there = [r for r in ladder if known.get(r, near / r.work) >= LEAST_STEPS]
        rung = (there or ladder[-1:])[0]
    return rung
