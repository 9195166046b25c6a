"""Preparing a folder of images, and making labels: `python -m benchmarks.prepare`.

Images per second of `prepare` by one process and by two, from the first file to the last rename,
and again on the same files, whose pixels were kept; the CPU time of all its processes; the memory
that they hold at most, over the bytes of the images: their own (proportional set sizes of anonymous
pages, Linux) and, apart, pages of files, which the kernel drops when it wants to. Then
`pseudo_labels.make` on probabilities of many classes.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from benchmarks import photographs
from benchmarks.timing import machine, spread, take_turns
from pipeline.labelling import pseudo_labels
from pipeline.labelling.rule import Labels

ROOT = Path(__file__).parent.parent
NUM_CLASSES = 10  # of the images made here
RULE = Labels(threshold=0.3, share=0.5, temperature=1.0, kind="soft", balance="equal")
PREPARE = """
import json, sys, time
from pipeline.sources.options import Data
from pipeline.sources.prepare import prepare
data = Data(**json.loads(sys.argv[1]))
started = time.perf_counter()
prepare(data, "base", data.classes, data.labels_per_class)
print(time.perf_counter() - started)
"""


class Run(NamedTuple):
    """One run of `prepare`: seconds, and bytes at most."""

    wall: float
    cpu: float
    own: int
    of_files: int


def draw(folder: Path, num: int, size: int) -> None:
    """Write so many JPEG files, cut from the photographs, into class folders."""
    for label in range(NUM_CLASSES):
        (folder / f"{label}").mkdir()
    for row, image in enumerate(photographs.load(num, size)):
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "jpeg", quality=90)
        label = zlib.crc32(file.getvalue()) % NUM_CLASSES  # some cuts are copies: of one class
        (folder / f"{label}" / f"{row:06d}.jpg").write_bytes(file.getvalue())


def params(root: Path, size: int) -> dict:
    """The block `data` for such a folder."""
    split = (root / "train").is_dir()
    folder = root / "train" if split else root
    shares = {n: 0.0 if split and (root / n).is_dir() else 0.1 for n in ("val", "test")}
    return {
        "source": "folder",
        "root": str(root.absolute()),
        "size": size,
        "classes": sorted(path.name for path in folder.iterdir() if path.is_dir()),
        "labels_per_class": 1,
        "seed": 0,
        **shares,
    }


def run(data: dict, processes: int, project: Path) -> tuple[Run, int]:
    """Prepare once, in a process of its own; the run, and the images' bytes."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "LINEAGE_THREADS": str(processes)}
    before = _cpu_of_children()
    child = subprocess.Popen(
        [sys.executable, "-c", PREPARE, json.dumps(data)],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    own = of_files = 0
    while child.poll() is None:
        held = memory(child.pid)
        own, of_files = max(own, held[0]), max(of_files, held[1])
        time.sleep(0.02)
    if child.returncode:
        raise SystemExit(child.returncode)
    wall = float(child.stdout.read())
    arrays = project.glob("data/prepared/base/*/image.npy")
    num_bytes = sum(np.load(path, mmap_mode="r").nbytes for path in arrays)
    return Run(wall, _cpu_of_children() - before, own, of_files), num_bytes


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory(pid: int) -> tuple[int, int]:
    """Bytes that a process and all below it hold, shared ones by their share: their own, and those
    of files. 0 where the system does not tell."""
    own = of_files = 0
    for process in _tree(pid):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:
            continue  # it ended meanwhile
        sizes = {name: 1024 * int(size.split()[0]) for name, size in (x.split(":") for x in lines)}
        own, of_files = own + sizes["Pss_Anon"], of_files + sizes["Pss_File"]
    return own, of_files


def _tree(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return [pid, *(below for child in children for below in _tree(int(child)))]


def probabilities(num: int, num_classes: int) -> np.ndarray:
    """A teacher's answers (num, num_classes), some sure of one class and others not."""
    rng, results = np.random.default_rng(0), np.empty((num, num_classes))
    for rows in np.array_split(np.arange(num), max(1, num // 1000)):
        answers = rng.random((len(rows), num_classes))
        picked = np.arange(len(rows)), rng.integers(0, num_classes, len(rows))
        answers[picked] += num_classes * rng.random(len(rows))
        results[rows] = answers / answers.sum(1, keepdims=True)
    return results


def make_labels(probs: np.ndarray) -> pseudo_labels.PseudoLabels:
    """By a rule that keeps some of them."""
    rngs = [np.random.default_rng(c) for c in range(probs.shape[1])]
    return pseudo_labels.make(probs, RULE, rngs)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--images", type=Path, help="a folder for `data.root`; default: own JPEGs")
    asked.add_argument("--num", type=int, default=20_000, help="own images")
    asked.add_argument("--size", type=int, default=32)
    asked.add_argument("--rounds", type=int, default=7)
    asked.add_argument("--labels", type=int, default=200_000, help="rows of probabilities")
    asked.add_argument("--classes", type=int, default=1000, help="columns of them")
    options = asked.parse_args()
    torch.set_num_threads(1)
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        if options.images is None:
            draw(Path(folder), options.num, options.size)
        report_preparing(params(options.images or Path(folder), options.size), options.rounds)
    report_labels(options)


def report_preparing(data: dict, rounds: int) -> None:
    """Print a row for one process and for two, the first time and again, which take turns."""
    runs: dict[tuple[int, str], list[Run]] = {}
    for processes in (1, 2) * rounds:
        with tempfile.TemporaryDirectory() as project:
            for time_of in ("first", "again"):
                one, num_bytes = run(data, processes, Path(project))
                runs.setdefault((processes, time_of), []).append(one)
    num = num_bytes // (3 * data["size"] ** 2)
    print(f"prepare, {num:,} images of {data['size']}x{data['size']}, {num_bytes / 2**20:.0f} MiB")
    for (processes, time_of), done in runs.items():
        rate = spread([num / one.wall for one in done], 1e3)
        cpu = spread([one.cpu / num for one in done], 1e-6)
        own = max(one.own for one in done) / num_bytes
        of_files = max(one.of_files for one in done) / num_bytes
        print(
            f"  {processes} process(es), {time_of} {rate:>20} k images/s   {cpu:>16} us of CPU an "
            f"image   memory {own:.2f} x the images, and files' pages {of_files:.2f} x"
        )


def report_labels(options: argparse.Namespace) -> None:
    """Print the seconds of making labels once."""
    probs = probabilities(options.labels, options.classes)
    arms = {"make": lambda: make_labels(probs)}
    seconds = take_turns(arms, options.rounds, time.process_time)["make"]
    print(f"labels, {options.labels:,} images x {options.classes:,} classes: {spread(seconds)} s")


if __name__ == "__main__":
    main()
