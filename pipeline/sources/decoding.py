"""Many image files decoded into one file, by as many processes as there are cores.

Every image has its row from the start, so that the bytes do not depend on how many there are.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.core import files, machine
from pipeline.core.errors import UserError
from pipeline.sources import decoder
from pipeline.sources.decoder import CHANNELS, Target

JOB = 64  # files
WORTH = 0.5  # seconds of work, from which on it is shared: a process starts in a tenth of one


class Decoded(NamedTuple):
    """What came of N files.

    Attributes:
        image: uint8 (N, 3, H, W), memory-mapped from a file without a name, which is gone when
            this is; None if not all files are images of one size.
        sha256: their identities, (N,).
        sizes: all heights and widths met.
        faults: rows that cannot be read, and why.
    """

    image: np.ndarray | None
    sha256: list[str]
    sizes: set[tuple[int, int]]
    faults: dict[int, str]


def decode_all(paths: Sequence[str], size: int, scratch: Path) -> Decoded:
    """Decode files into a file of the folder `scratch`.

    Args:
        size: see `decoder.decode`.

    Raises:
        UserError: the disk is full, the folder cannot be written to, or a process was ended.
    """
    height, width = _size_of_first(paths, size)
    shape = (len(paths), len(CHANNELS), height, width)
    sha256, sizes, faults = [""] * len(paths), set(), {}
    with files.disk_errors(scratch / "images", math.prod(shape)):
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=scratch) as file:
            target = Target(file.fileno(), size, height, width)
            with closing(_answers(paths, target)) as answers:
                for row, (sha256[row], found, fault) in answers:
                    faults |= {row: fault} if fault else {}
                    sizes |= {found} if found else set()
            whole = not faults and len(sizes) == 1
            image = np.memmap(file, np.uint8, "r", shape=shape) if whole else None
    return Decoded(image, sha256, sizes, dict(sorted(faults.items())))


def _size_of_first(paths: Sequence[str], size: int) -> tuple[int, int]:
    """Height and width to store images at: those of the first file that is one, or `size`."""
    for path in () if size else paths:
        with suppress(Exception):
            return decoder.decode(path, 0)[1:]
    return size, size


def _answers(paths: Sequence[str], target: Target) -> Iterator[tuple[int, tuple]]:
    """The row and the answer of each file, in any order: decoded here as long as little is left,
    then by other processes."""
    jobs = ((row, list(paths[row : row + JOB])) for row in range(0, len(paths), JOB))
    num, started = _processes(), time.perf_counter()
    for first, job in jobs:
        yield from enumerate(decoder.store(first, job, target), first)
        done = first + len(job)
        left = (time.perf_counter() - started) / done * (len(paths) - done)
        if num > 1 and left > WORTH:
            break
    else:
        return
    with _decoders(num, target) as decoders:
        yield from _shared_out(jobs, decoders)


def _processes() -> int:
    """As many as the machine's settings say, else as cores that this process may use."""
    return machine.load().threads or machine.cores()


@contextmanager
def _decoders(num: int, target: Target) -> Iterator[list[Connection]]:
    """Connections to so many processes of `decoder`, which are gone at the end of the context.

    They end too when this process is killed: then they read the end of their connection. Ctrl-C in
    a terminal is for this process alone, which ends them.
    """
    with ExitStack() as stack:
        ours = []
        for _ in range(num):
            connection, theirs = Pipe()
            stack.enter_context(connection)
            with theirs:
                numbers = map(str, (theirs.fileno(), *target))
                process = subprocess.Popen(
                    [sys.executable, "-P", decoder.__file__, *numbers],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), target.file),
                    process_group=0,
                )
            stack.callback(process.wait)
            stack.callback(process.kill)
            ours.append(connection)
        yield ours


def _shared_out(
    jobs: Iterator[tuple[int, list[str]]], decoders: list[Connection]
) -> Iterator[tuple[int, tuple]]:
    """The next job goes to whoever is free."""
    busy = {}
    for connection, job in zip(decoders, jobs):
        busy[connection] = job
        with suppress(ConnectionError):  # its end is read below
            connection.send(job)
    while busy:
        for free in wait(list(busy)):
            first, paths = busy.pop(free)
            try:
                answer = free.recv()
            except (EOFError, ConnectionError):
                what = f"the process that decoded it, or one of the {len(paths)} from it on, ended"
                fix = "free some memory, or take out the file that ends it, and run again"
                raise UserError(paths[0], what, fix) from None
            if job := next(jobs, None):
                busy[free] = job
                with suppress(ConnectionError):  # its end is read above
                    free.send(job)
            if isinstance(answer, OSError):
                raise answer
            yield from enumerate(answer, first)
