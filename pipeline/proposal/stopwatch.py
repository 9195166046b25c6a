"""Seconds that something would take if nothing else ran on this machine.

Beside other processes the wall clock runs on while ours waits, and its CPU time does not; on two
threads CPU time counts twice. The smaller of the two is near the truth in both cases. Work on a GPU
is not CPU time: there the wall clock alone counts.
"""

from __future__ import annotations

import time
from typing import NamedTuple


class Moment(NamedTuple):
    """What both clocks show."""

    wall: float
    cpu: float


def now() -> Moment:
    """This moment."""
    return Moment(time.perf_counter(), time.process_time())


def seconds(start: Moment, end: Moment | None = None, device: str = "cpu") -> float:
    """From one moment to another, or until now."""
    end = end or now()
    wall, cpu = end.wall - start.wall, end.cpu - start.cpu
    return min(wall, cpu) if device == "cpu" else wall
