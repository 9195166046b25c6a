"""Seconds that something would take if nothing else ran on this machine.

Beside other processes the wall clock runs on while ours waits, and its CPU time does not; on two
threads CPU time counts twice. The smaller of the two is near the truth in both cases, but not where
threads wait for one another on a busy machine: there a single one is to be timed. Work on a GPU is
not CPU time: there the wall clock alone counts.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from pipeline.core import machine


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


def busy() -> bool:
    """Whether other processes want more than half of this machine's cores."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > machine.cores() / 2
