"""What keeping freed memory gains, processes in turns: `python -m benchmarks.malloc`."""

import argparse
import statistics
import subprocess
import sys
import time

import numpy as np
import torch

from benchmarks import photographs
from benchmarks.timing import machine, ratios, spread
from benchmarks.train_step import training_step
from pipeline.augment import RandAugment
from pipeline.malloc import keep_freed_memory

NAMES = ("default", "freed memory kept")


def measure(keep: bool) -> None:
    """Print the median milliseconds of augmenting a batch and of a training step."""
    if keep and not keep_freed_memory():
        raise SystemExit("error: this C library is not glibc; fix: nothing, there is no gain here")
    torch.set_num_threads(1)
    images, augment = photographs.load(256, 32), RandAugment(2, 9)
    rng = np.random.default_rng(0)
    step = training_step(images[:64], "channels_last", bf16=True)
    print(_median(lambda: augment(images, augment.draw(rng, 256)), 60), _median(step, 6))


def _median(call, times: int) -> float:
    seconds = []
    for _ in range(times):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds[times // 4 :]) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--measure", choices=NAMES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure == NAMES[1])
        return
    print(machine(), f"{options.rounds} pairs of processes of one thread, CPU time", sep="; ")
    runs = {name: [] for name in NAMES}
    for _ in range(options.rounds):
        for name in NAMES:
            command = [sys.executable, "-m", "benchmarks.malloc", "--measure", name]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            runs[name].append([float(number) for number in output.split()])
    for column, title in enumerate(("RandAugment, 256 of 32x32", "training step, batch 64, bf16")):
        times = {name: [run[column] for run in runs[name]] for name in NAMES}
        for name, ratio in ratios(times, NAMES[0]).items():
            print(f"  {title:32} {name:20} {spread(ratio):>20} x   {spread(times[name]):>20} ms")


if __name__ == "__main__":
    main()
