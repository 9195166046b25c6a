"""Fair timings: arms take turns, in one process or each in its own, and what is reported is a ratio
with its spread."""

import argparse
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import torch

from pipeline.core.memory import keep_freed_memory


def parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """What every timing asks for: images, rounds (with a default), threads."""
    results = argparse.ArgumentParser(description=description)
    results.add_argument("--images", type=Path, help="a folder of images; default: built-in photos")
    results.add_argument("--rounds", type=int, default=rounds)
    results.add_argument("--threads", type=int, default=1)
    return results


def clock() -> tuple[str, Callable[[], float]]:
    """What to time with: one thread of a CPU by its own time, which neighbours hardly move."""
    if torch.get_num_threads() == 1 and not torch.cuda.is_available():
        return "CPU time", time.process_time
    return "wall time", time.perf_counter


def take_turns(
    arms: dict[str, Callable[[], object]], rounds: int, now: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each call, arms called A B C A B C ... for some rounds, after one to warm up."""

    def timed(call: Callable[[], object]) -> Callable[[], float]:
        def seconds() -> float:
            start = now()
            call()
            return now() - start

        return seconds

    return take_turns_of({name: timed(call) for name, call in arms.items()}, rounds)


def take_turns_of(arms: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What arms answer that time themselves, in that order."""
    for call in arms.values():
        call()
    seconds = {name: [] for name in arms}
    for _ in range(rounds):
        for name, call in arms.items():
            seconds[name].append(call())
    return seconds


class Arm(NamedTuple):
    """What is to be timed in a process of its own, with what holds for the whole process."""

    make: Callable[[], Callable[[], object]]  # gives the call; picklable, and run in the process
    keeps: bool = False  # what is freed, as the pipeline's processes do


def apart(arms: dict[str, Arm], rounds: int, threads: int = 1) -> dict[str, list[float]]:
    """Seconds of each arm's calls, in turns as in `take_turns`, each arm in a fresh process.

    Raises:
        EOFError: an arm failed, and said why on stderr.
    """
    with _processes(arms, threads) as asked:
        return take_turns_of({name: _asking(pipe) for name, pipe in asked.items()}, rounds)


@contextmanager
def _processes(arms: dict[str, Arm], threads: int) -> Iterator[dict[str, Connection]]:
    fresh = multiprocessing.get_context("spawn")
    pipes, workers = {}, []
    try:
        for name, arm in arms.items():
            pipes[name], theirs = fresh.Pipe()
            workers.append(fresh.Process(target=_answer, args=(arm, threads, theirs), daemon=True))
            workers[-1].start()
            theirs.close()
        yield pipes
    finally:
        for pipe in pipes.values():
            pipe.close()
        for worker in workers:
            worker.join()


def _answer(arm: Arm, threads: int, pipe: Connection) -> None:
    """The process of an arm: the seconds of a call for everything that it is sent."""
    if arm.keeps:
        keep_freed_memory()
    torch.set_num_threads(threads)
    _, now = clock()
    call = arm.make()
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        start = now()
        call()
        pipe.send(now() - start)


def _asking(pipe: Connection) -> Callable[[], float]:
    def ask() -> float:
        pipe.send(None)
        return pipe.recv()

    return ask


def repeated(call: Callable[[], object], times: int) -> Callable[[], None]:
    """The call several times over, so that a short one can be timed."""

    def calls() -> None:
        for _ in range(times):
            call()

    return calls


def spread(values: list[float], unit: float = 1.0) -> str:
    """Median and, in brackets, the quartiles."""
    low, middle, high = (value / unit for value in statistics.quantiles(values, n=4))
    return f"{middle:.3g} [{low:.3g}, {high:.3g}]"


def ratios(seconds: dict[str, list[float]], one: str) -> dict[str, list[float]]:
    """How many times as quick as arm `one`, round by round."""
    return {
        name: [base / own for base, own in zip(seconds[one], times)]
        for name, times in seconds.items()
    }


def machine() -> str:
    """One line: processor or GPU, threads, versions."""
    names = ("torch", "torchvision", "kornia", "numpy", "pillow")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    gpu = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    threads = torch.get_num_threads()
    return (
        f"{gpu}{_processor()}, {threads} thread(s), Python {platform.python_version()}, {versions}"
    )


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    instructions = " with AVX512-BF16" if any("avx512_bf16" in line for line in lines) else ""
    return (names[0] if names else platform.processor()) + instructions
