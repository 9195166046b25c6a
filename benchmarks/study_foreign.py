"""Foreign images among the unlabelled ones: what they cost, what a filter and the gate save.

Vehicles of CIFAR-10 (four classes, 50 labels each, 500 val images) are learnt with 3,000 unlabelled
images, of which a share is of the six animals. One supervised teacher teaches a student by each
filter of `labels.ood_filter`; for each student the gate decides what ships. Photos are links in a
folder as a person would have it, `train/`, `val/`, `test/` and `unlabelled/`.

`python -m benchmarks.study_foreign --images <CIFAR-10>` continues
`benchmarks/results/study_foreign.csv`, a row per filter, share and seed, in one process, and prints
the tables of `benchmarks/RESULTS.md`. Rows that stand there are not computed again.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import tempfile
import time
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.study import mean_interval
from pipeline.core import files

CSV = Path("benchmarks/results/study_foreign.csv")
KNOWN = ["airplane", "automobile", "ship", "truck"]
FOREIGN = ["bird", "cat", "deer", "dog", "frog", "horse"]
SHARES = [0.0, 0.25, 0.5, 0.75]
FILTERS = ["none", "threshold", "energy"]
SEEDS = range(100, 110)
GIVEN = {"train": 50, "val": 125}  # images of each class
TEST, CROWD = 500, 3000
TEACHER = {"network": "small_cnn", "width": 0.25}
STUDENT = {"network": "small_cnn", "width": 0.35}
LEAST = -1.0  # points that shipping may cost on average


def params(seed: int) -> dict[str, Any]:
    """A params file with a student for each filter, of its name."""
    generations = {
        name: {"teacher": "teacher", **STUDENT, "labels": {"ood_filter": name}} for name in FILTERS
    }
    return {
        "seed": seed,
        "data": {
            "source": "folder",
            "root": "photos",
            "unlabelled": ["unlabelled"],
            "size": 16,
            "classes": KNOWN,
            "labels_per_class": "all",
            "val": 0,
            "test": 0,
            "seed": 0,
        },
        "training": {
            "steps": 300,
            "batch_size": 32,
            "unlabelled_ratio": 1,
            "unlabelled_weight": 1.0,
            "optimizer": "sgd",
            "learning_rate": 0.05,
            "warmup_steps": 50,
            "weight_decay": 5e-4,
            "clip_norm": 0,
            "label_smoothing": 0.0,
            "dropout": 0.3,
            "stochastic_depth": 0.0,
            "ema": 0.99,
            "flip": True,
            "shift": 2,
            "num_ops": 2,
            "magnitude": 10,
            "keep": "last",
            "evaluate_every": 300,
        },
        "labels": {
            "threshold": 0.0,
            "share": 0.6,
            "temperature": 1.0,
            "kind": "soft",
            "balance": "equal",
        },
        "teacher": TEACHER,
        "generations": generations,
        "meta_pseudo_labels": {},
        "baselines": {},
        "ensembles": {},
        "specialists": {},
        "distilled": {},
        "tasks": {},
        "final": "none",
        "report": {"test": True, "register": False},
    }


def link_photos(images: Path, folder: Path, share: float, seed: int) -> None:
    """Draw the photos of a seed.

    The labelled, val and test images are the same at every share, and the crowd of a larger share
    has fewer of the known images of a smaller one and more foreign ones.
    """
    rng = np.random.default_rng(seed)
    for name in KNOWN:
        drawn = rng.permutation(sorted((images / "train" / name).iterdir()))
        for split, num in GIVEN.items():
            _link(drawn[:num], folder / split / name)
            drawn = drawn[num:]
        _link(drawn[: round(CROWD * (1 - share) / len(KNOWN))], folder / "unlabelled" / name)
        shown = rng.permutation(sorted((images / "test" / name).iterdir()))
        _link(shown[:TEST], folder / "test" / name)
    for name in FOREIGN:
        drawn = rng.permutation(sorted((images / "train" / name).iterdir()))
        _link(drawn[: round(CROWD * share / len(FOREIGN))], folder / "unlabelled" / name)


def _link(paths: Iterable[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for path in paths:
        os.link(path, folder / path.name)  # a symbolic link would lead out of data.root


def compute(images: Path, share: float, seed: int) -> list[dict[str, Any]]:
    """Train the chains of a share and a seed in a temporary folder; a row a filter."""
    from pipeline.params.check import load
    from stages import prepare, pseudo_label, student, teacher

    before, started = Path.cwd(), time.process_time()
    # beside the images: hard links do not reach from one disk to another
    with tempfile.TemporaryDirectory(dir=images.parent) as folder:
        os.chdir(folder)
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                link_photos(images, Path("photos"), share, seed)
                files.write_json("params.yaml", params(seed))
                prepare.main()
                teacher.main()
                for name in load().generations:
                    pseudo_label.main([name])
                    student.main([name])
                results = rows()
        finally:
            os.chdir(before)
    place = {"share": share, "seed": seed, "recipe": recipe()}
    seconds = round(time.process_time() - started, 1)
    return [place | row | {"seconds": seconds} for row in results]


def rows() -> list[dict[str, Any]]:
    """What each filter made in the working folder, in % where it is a share."""
    from pipeline.params.check import load
    from pipeline.report import gate, measure

    lineage = load().lineage()
    measured = measure.models(lineage, test=True)
    on_val = {name: model.answers["val"] for name, model in measured.items()}
    acc = {name: 100 * model.answers["test"].accuracy for name, model in measured.items()}
    results = []
    for name in FILTERS:
        chain = ["teacher", name]
        ships = gate.decide(chain, gate.compare(chain, measured)).ships
        row = {"arm": name, "supervised": acc["teacher"], "student": acc[name]}
        row |= {"shipped": acc[ships], "student_ships": int(ships == name), **crowd(name)}
        row |= {"val_supervised": 100 * on_val["teacher"].accuracy}
        row |= {"val_student": 100 * on_val[name].accuracy}
        results.append({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()})
    return results


def crowd(generation: str) -> dict[str, float]:
    """Of the unlabelled images: the share that the filter drops, the share of the known and of the
    foreign ones that is kept in the end, the share of the kept ones that is foreign; all in %."""
    from pipeline.data import tasks
    from pipeline.labelling import pseudo_labels

    labels, metadata = pseudo_labels.load(f"data/pseudo_labels/{generation}.safetensors")
    paths = tasks.dataset("base").paths("unlabelled")
    foreign = np.array([Path(path).parent.name in FOREIGN for path in paths])
    kept = np.zeros(len(foreign), dtype=bool)
    kept[labels.index] = True
    return {
        "dropped": 100 * metadata["foreign"]["dropped"] / len(foreign)
        if metadata["foreign"]
        else 0.0,
        "kept_known": 100 * float(kept[~foreign].mean()),
        "kept_foreign": 100 * float(kept[foreign].mean()) if foreign.any() else 0.0,
        "strangers": 100 * float(foreign[kept].mean()),
    }


# --- rows and tables --------------------------------------------------------------------------


def recipe() -> str:
    """What tells these params and numbers of images from others."""
    values = [params(0), KNOWN, FOREIGN, GIVEN, TEST, CROWD]
    return files.digest(values)[:12]


def read() -> list[dict[str, str]]:
    """The rows that stand in the file, of this recipe."""
    if not CSV.is_file():
        return []
    with open(CSV, encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["recipe"] == recipe()]


def run(images: Path, shares: Iterable[float], seeds: Iterable[int]) -> None:
    """Compute what is missing, appending as it is done."""
    done = {(float(row["share"]), int(row["seed"])) for row in read()}
    waiting = [(share, seed) for seed in seeds for share in shares if (share, seed) not in done]
    for number, (share, seed) in enumerate(waiting, 1):
        made = compute(images, share, seed)
        _append(made)
        seconds = made[0]["seconds"]
        print(f"{number}/{len(waiting)}: {share:.0%} foreign, seed {seed}, {seconds:.0f} CPU s")


def _append(made: list[dict[str, Any]]) -> None:
    CSV.parent.mkdir(parents=True, exist_ok=True)
    with open(CSV, "a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(made[0]), lineterminator="\n")
        if not file.tell():
            writer.writeheader()
        writer.writerows(made)


def lower_bound(values: np.ndarray) -> float:
    """Of the mean, one-sided 95 % (Student's t)."""
    from scipy.stats import t

    half = t.ppf(0.95, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half)


COLUMNS = ["supervised", "student", "shipped"]
WHAT = ["dropped", "kept_known", "kept_foreign", "strangers"]


def table(every: list[dict[str, str]], columns: list[str]) -> str:
    """Mean and 95 % interval of columns, a line for each share and filter."""
    lines = [f"| foreign | filter | n | {' | '.join(columns)} |", "|---" * (3 + len(columns)) + "|"]
    for share, arm, own in groups(every):
        cells = []
        for column in columns:
            mean, half = mean_interval(np.array([float(row[column]) for row in own]))
            cells.append(f"{mean:.2f} ± {half:.2f}")
        lines.append(f"| {share:.0%} | {arm} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def groups(every: list[dict[str, str]]) -> list[tuple[float, str, list[dict[str, str]]]]:
    """The rows of each share and filter."""
    pairs = dict.fromkeys((float(row["share"]), row["arm"]) for row in every)
    of = {pair: [r for r in every if (float(r["share"]), r["arm"]) == pair] for pair in pairs}
    return [(share, arm, own) for (share, arm), own in sorted(of.items(), key=_order)]


def _order(item: tuple[tuple[float, str], list]) -> tuple[float, int]:
    share, arm = item[0]
    return share, FILTERS.index(arm)


def claims(every: list[dict[str, str]]) -> str:
    """What ships against the teacher, and its student against the one without a filter, seed by
    seed."""
    head = "| foreign | filter | shipped - supervised | one-sided 95 % | holds | student ships |"
    lines = [f"{head} student - none |", "|---" * 7 + "|"]
    plain = {(r["share"], r["seed"]): float(r["student"]) for r in every if r["arm"] == "none"}
    for share, arm, own in groups(every):
        change = np.array([float(row["shipped"]) - float(row["supervised"]) for row in own])
        mean, half = mean_interval(change)
        least = lower_bound(change)
        ships = sum(int(row["student_ships"]) for row in own)
        more = [float(row["student"]) - plain[row["share"], row["seed"]] for row in own]
        gain, about = mean_interval(np.array(more))
        holds = "yes" if least > LEAST else "no"
        lines.append(
            f"| {share:.0%} | {arm} | {mean:+.2f} ± {half:.2f} | above {least:+.2f} | {holds} | "
            f"{ships} of {len(own)} | {gain:+.2f} ± {about:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, print means and paired differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="CIFAR-10 as train/<class>/, test/<class>/")
    parser.add_argument("--seeds", type=int, nargs=2, default=[SEEDS.start, SEEDS.stop])
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    options = parser.parse_args()
    os.environ |= {"LINEAGE_THREADS": "1", "LINEAGE_TRACKING": "off"}
    seeds = range(*options.seeds)
    if options.images:
        run(options.images.resolve(), options.shares, seeds)
    every = [row for row in read() if int(row["seed"]) in seeds]
    print("\n\n".join([table(every, COLUMNS), claims(every), table(every, WHAT)]))


if __name__ == "__main__":
    main()
