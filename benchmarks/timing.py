"""Fair timings: arms take turns in one process, and what is reported is a ratio with its spread."""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch


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
    for call in arms.values():
        call()
    seconds = {name: [] for name in arms}
    for _ in range(rounds):
        for name, call in arms.items():
            start = now()
            call()
            seconds[name].append(now() - start)
    return seconds


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
