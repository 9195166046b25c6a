"""Files decoded by as many processes as there are cores; what is soon done, by this one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple

from pipeline.core import machine
from pipeline.core.errors import UserError
from pipeline.sources import decoder
from pipeline.sources.decoder import Result, Target

WORTH = 0.5  # seconds of work, from which on it is shared: a process starts in a tenth of one
# Our packages without their `__init__`, which import what decoding has no use for.
START = """
import sys, types
root = sys.argv.pop(1)
for name in ("pipeline", "pipeline.sources"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [f"{root}/{name.replace('.', '/')}"]
from pipeline.sources import decoder
decoder.main()
"""
ROOT = Path(__file__).parents[2]


class Job(NamedTuple):
    """Files for consecutive rows of the target from `first` on."""

    first: int
    paths: list[str]


def results(jobs: list[Job], target: Target) -> Iterator[tuple[Job, list[Result]]]:
    """The results of each job, in any order.

    Raises:
        UserError: a process was ended.
        OSError: of the target's disk.
    """
    waiting, total = iter(jobs), sum(len(job.paths) for job in jobs)
    num, started, done = _processes(), time.perf_counter(), 0
    for job in waiting:
        yield job, decoder.store(*job, target)
        done += len(job.paths)
        left = (time.perf_counter() - started) / done * (total - done)
        if num > 1 and left > WORTH:
            break
    else:
        return
    with _decoders(num, target) as decoders:
        yield from _shared_out(waiting, decoders)


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
                    [sys.executable, "-P", "-c", START, str(ROOT), *numbers],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), target.file),
                    process_group=0,
                )
            stack.callback(process.wait)
            stack.callback(process.kill)
            ours.append(connection)
        yield ours


def _shared_out(
    jobs: Iterator[Job], decoders: list[Connection]
) -> Iterator[tuple[Job, list[Result]]]:
    """The next job goes to whoever is free."""
    busy = {}
    for connection, job in zip(decoders, jobs):
        busy[connection] = job
        with suppress(ConnectionError):  # its end is read below
            connection.send(tuple(job))
    while busy:
        for free in wait(list(busy)):
            job = busy.pop(free)
            try:
                answer = free.recv()
            except (EOFError, ConnectionError):
                what = (
                    f"the process that decoded it, or one of the {len(job.paths)} from it on, ended"
                )
                fix = "free some memory, or take out the file that ends it, and run again"
                raise UserError(job.paths[0], what, fix) from None
            if other := next(jobs, None):
                busy[free] = other
                with suppress(ConnectionError):  # its end is read above
                    free.send(tuple(other))
            if isinstance(answer, OSError):
                raise answer
            yield job, answer
