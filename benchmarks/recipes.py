"""The recipe that `python -m pipeline init` proposes against the digits' own, on photos.

`python -m benchmarks.recipes --images <CIFAR-10 as train/<class>/, test/<class>/>`: 30 labelled
photos of each class, 10,000 without a label in one folder, all test photos; another draw at each
seed. Stages run one after another in processes of their own, on one thread, and CPU time counts.
Rows are appended to `benchmarks/results/recipes.csv`; those there are not computed again.
`recipes_stages.csv` has the seconds that were expected of each stage, and those that it took.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.study import DIGITS_PARAMS
from pipeline.core import files
from pipeline.core.yaml_file import read
from pipeline.params.check import load
from pipeline.proposal import page
from pipeline.proposal.place import look
from pipeline.proposal.propose import propose
from pipeline.running import projects

LABELLED, UNLABELLED = 30, 10_000
ROWS = Path("benchmarks/results/recipes.csv")
STAGES = Path("benchmarks/results/recipes_stages.csv")
ARMS = ("proposed", "digits")
MODELS = ("teacher", "g1", "g2", "g3")
QUIET = {"OMP_NUM_THREADS": "1", "LINEAGE_THREADS": "1"}


def draw(images: Path, folder: Path, seed: int) -> None:
    """Copy a draw of the photos into `train/<class>`, `test/<class>` and `unsorted`."""
    rng, rest = random.Random(seed), []
    for source in sorted((images / "train").iterdir()):
        paths = sorted(source.iterdir())
        rng.shuffle(paths)
        _copy(paths[:LABELLED], folder / "train" / source.name)
        rest += paths[LABELLED:]
        shutil.copytree(images / "test" / source.name, folder / "test" / source.name)
    _copy(rng.sample(rest, UNLABELLED), folder / "unsorted")


def _copy(paths: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for path in paths:
        shutil.copy(path, folder / f"{path.parent.name}-{path.name}")


def proposed(photos: Path, minutes: float, start: float) -> tuple[dict, dict[str, float]]:
    """Values of params.yaml, and the seconds expected of each stage."""
    made = propose(look(photos), "all", minutes, start)
    path = photos / "../proposed.yaml"
    path.write_text(page.text(made.values, "proposed"), encoding="utf-8")
    return read(path).values, made.seconds


def digits(data: dict) -> dict:
    """The recipe of three generations on the digits with photos in the place of the digits."""
    values = read(DIGITS_PARAMS).values | {"data": data, "tasks": {}, "final": "g3"}
    return values | {"report": {"test": True, "register": False}}


def stages(folder: Path) -> Iterator[tuple[str, float]]:
    """Run the chain of a project; CPU seconds of each stage, in its order."""
    lineage = load(folder / "params.yaml").lineage()
    names = ["prepare"]
    for name, entry in lineage.entries.items():
        names += [f"pseudo_label@{name}"] if entry.block == "generations" else []
        names.append(entry.stage)
    for name in [*names, "report"]:
        script, *argument = name.split("@")
        command = [sys.executable, "-m", f"stages.{script}", *argument]
        process = subprocess.Popen(command, cwd=folder, env=os.environ | QUIET)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"{name} failed")
        yield name, usage.ru_utime + usage.ru_stime


def row(images: Path, arm: str, seed: int, minutes: float) -> None:
    """Run an arm at a seed and append what it gave."""
    start = _start()
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        draw(images, photos, seed)
        values, expected = proposed(photos, minutes, start)
        values |= {"seed": seed}
        if arm == "digits":
            values, expected = digits(values["data"]) | {"seed": seed}, {}
        project = projects.make(Path(folder) / "project", values, str(photos))
        took = dict(stages(project))
        metrics = files.read_json(project / "report/metrics.json")
    numbers = {"arm": arm, "seed": seed, "minutes": minutes}
    numbers |= {"side": values["data"]["size"], "steps": values["training"]["steps"]}
    numbers |= {"expected": round(sum(expected.get(name, 0) for name in took), 1)}
    numbers |= {"seconds": round(sum(took.values()), 1)}
    numbers |= {f"acc/{name}": metrics.get(f"acc/{name}", "") for name in MODELS}
    for name, seconds in took.items():
        known = {"expected": round(expected.get(name, 0), 1), "seconds": round(seconds, 1)}
        _append(STAGES, {"arm": arm, "seed": seed, "stage": name} | known)
    _append(ROWS, numbers)


def _start() -> float:
    """CPU seconds that a process takes to import what a stage does, as `init` measures them."""
    code = "import pipeline.proposal.propose"
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | QUIET)
    _, _, usage = os.wait4(process.pid, 0)
    return usage.ru_utime + usage.ru_stime


def _append(path: Path, numbers: dict) -> None:
    new = not path.is_file()
    with open(path, "a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, numbers, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(numbers)


def main() -> None:
    """Run what is missing, print all rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="CIFAR-10 as JPEG folders")
    parser.add_argument("--seeds", type=int, nargs="*", default=[100, 101, 102])
    parser.add_argument("--arms", nargs="*", choices=ARMS, default=ARMS[:1])
    parser.add_argument("--minutes", type=float, default=5)
    options = parser.parse_args()
    os.environ |= QUIET
    done = set()
    if ROWS.is_file():
        with open(ROWS, encoding="utf-8", newline="") as file:
            done = {(line["arm"], int(line["seed"])) for line in csv.DictReader(file)}
    for arm in options.arms:
        for seed in options.seeds:
            if (arm, seed) not in done:
                row(options.images.resolve(), arm, seed, options.minutes)
    print(ROWS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
