"""Labels that `python -m pipeline suggest` asks for, against as many at random.

`python -m benchmarks.study_suggest` continues `benchmarks/results/suggest_digits.csv` and, with
`--images` a folder that holds CIFAR-10 as `train/<class>/` and `test/<class>/`,
`suggest_cifar10.csv`, in one process, and prints the tables of `benchmarks/RESULTS.md`. Rows that
stand there are not computed again. A row is a round of an arm at a seed: the models are trained,
measured on test, asked, and the images that the arm chooses get their true labels, which nobody but
this study reads. All arms of a seed begin with the same images and models.

- `suggest_digits`: digits and a first generation; 3 labels a class, then 3 rounds of 8;
- `suggest_cifar10`: 10,000 unlabelled images of 16x16 pixels and one small model, trained for
  seconds; 50 labels a class, then 3 rounds of 250.

`doubt` and `clusters` are the two halves of the rule, each alone, and `wider` is the rule with four
times as many candidates: which of them comes nearest to chance or beyond it, where the rule does
not.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.study import CIFAR10_PARAMS, DIGITS_PARAMS, changed, mean_interval
from pipeline.core import files, randomness
from pipeline.core.yaml_file import read
from pipeline.data import store
from pipeline.networks import checkpoint, evaluate
from pipeline.suggest import answers, rule
from pipeline.suggest.answers import Answers

ROUNDS = 3
SEEDS = range(400, 410)
BASE = store.PREPARED / "base"
Chooser = Callable[[Answers, int, np.random.Generator], np.ndarray]
ARMS: dict[str, Chooser] = {
    "random": lambda asked, num, rng: rng.choice(len(asked.features), num, replace=False),
    "suggest": lambda asked, num, rng: rule.choose(asked.probs, asked.features, num),
    "doubt": lambda asked, num, rng: rule.choose(asked.probs, asked.features, num, beta=1),
    "clusters": lambda asked, num, rng: clusters(asked.features, num),
    "wider": lambda asked, num, rng: rule.choose(asked.probs, asked.features, num, beta=20),
}
Rows = list[dict[str, str]]


def clusters(features: np.ndarray, num: int) -> np.ndarray:
    """The image nearest to each of `num` centres of all images, whatever the models doubt."""
    points = rule.unit(features)
    return rule.nearest_different(points, rule.weighted_means(points, np.ones(len(points)), num))


@dataclass(frozen=True)
class Labelling:
    """A study.

    Attributes:
        name: of it and of its CSV.
        params: a file to start from.
        changes: the keys that differ.
        models: names, each the teacher of the next.
        num: labels of a round.
        keep: of a split at most so many images, by chance.
    """

    name: str
    params: Path
    changes: Mapping[str, Any]
    models: list[str]
    num: int
    keep: Mapping[str, int] = field(default_factory=dict)

    @property
    def csv(self) -> Path:
        """Where the rows are."""
        return Path("benchmarks/results") / f"{self.name}.csv"

    def values(self, seed: int) -> dict[str, Any]:
        """The params at a seed."""
        return changed(read(self.params).values, self.changes, seed, test=True)


def digits() -> Labelling:
    """params.yaml with its first generation."""
    first = {"g1": {"teacher": "teacher", "network": "small_cnn"}}
    changes = {"generations": first, "tasks": {}, "final": "g1", "report.register": False}
    return Labelling("suggest_digits", DIGITS_PARAMS, changes, ["teacher", "g1"], 8)


def cifar10(images: Path) -> Labelling:
    """A small model from labels alone."""
    training = {"steps": 500, "batch_size": 128, "learning_rate": 0.1, "num_ops": 0}
    changes = {
        "data.root": str(images.resolve()),
        "data.labels_per_class": 50,
        "teacher": {"network": "small_cnn", "width": 0.5, "training": training},
        "training.warmup_steps": 30,
        "training.shift": 1,
        "generations": {},
        "baselines": {},
        "final": "teacher",
        "report.register": False,
    }
    keep = {"unlabelled": 10_000, "val": 500}
    return Labelling("suggest_cifar10", CIFAR10_PARAMS, changes, ["teacher"], 250, keep)


# --- the images and who labels them -----------------------------------------------------------


class Images:
    """The images of a prepared data set, in memory, with their true labels.

    Args:
        keep: see `Labelling`.
        rng: which are kept.
    """

    def __init__(self, keep: Mapping[str, int], rng: np.random.Generator):
        dataset, parts = store.load(BASE), {}
        for split in store.SPLITS:
            images = dataset.array(split)
            kept = np.sort(rng.permutation(len(images))[: keep.get(split)])
            label = dataset.array(split, "truth" if split == "unlabelled" else "label")
            paths = np.array(dataset.paths(split))
            parts[split] = (images[kept], label[kept], paths[kept], np.full(len(kept), split))
        joined = (np.concatenate(arrays) for arrays in zip(*parts.values()))
        self.image, self.label, self.path, self.split = joined
        self.classes = dataset.classes

    def label_rows(self, rows: Iterable[int]) -> None:
        """Give unlabelled images their true labels."""
        self.split[np.flatnonzero(self.split == "unlabelled")[rows]] = "labelled"

    def save(self) -> None:
        """Write them where the stages look."""
        unknown = [""] * len(self.path)  # contents, which only splits are made by
        about = {"classes": self.classes, "path": self.path.tolist(), "sha256": unknown}
        store.save(BASE, self.image, self.label, self.split, **about)


def train(models: list[str]) -> None:
    """A teacher and its generations."""
    from stages import pseudo_label, student, teacher

    teacher.main()
    for name in models[1:]:
        pseudo_label.main([name])
        student.main([name])


def accuracies(models: list[str]) -> dict[str, str]:
    """Of each on test."""
    dataset, made = store.load(BASE), {}
    labels = torch.from_numpy(dataset.array("test", "label").copy())
    for name in models:
        network, _ = checkpoint.load(f"models/{name}")
        logits = evaluate.infer(network, dataset.array("test"))
        made[f"acc/{name}"] = f"{evaluate.accuracy(logits, labels):.6f}"
    return made


# --- rounds -----------------------------------------------------------------------------------


def run(study: Labelling, seeds: Iterable[int] = SEEDS) -> Rows:
    """Compute the missing arms of each seed, appending each round as it is done; returns all."""
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            done = {(row["arm"], row["seed"], row["round"]) for row in rows(study)}
            missing = [arm for arm in ARMS if (arm, str(seed), str(ROUNDS)) not in done]
            if missing:
                seed_rounds(study, missing, seed, folder)
    return rows(study)


def seed_rounds(study: Labelling, arms: list[str], seed: int, folder: str) -> None:
    """The rounds of some arms at a seed, in a folder that keeps what was decoded."""
    path = study.csv.resolve()
    with workplace(folder, study.values(seed)):
        images = Images(study.keep, randomness.generator(seed, "keep"))
        images.save()
        train(study.models)
        start, asked = images.split.copy(), answers.read(study.models, store.load(BASE))
        first = accuracies(study.models)
        for arm in arms:
            images.split, begun = start.copy(), time.process_time()
            made = [_row(arm, seed, 0, images, first)]
            last = asked
            for number in range(1, ROUNDS + 1):
                rng = randomness.generator(seed, "choose", number)
                images.label_rows(ARMS[arm](last, study.num, rng))
                images.save()
                train(study.models)
                last = answers.read(study.models, store.load(BASE))
                made.append(_row(arm, seed, number, images, accuracies(study.models)))
            append(path, made, time.process_time() - begun)


@contextmanager
def workplace(folder: str, values: dict[str, Any]) -> Iterator[None]:
    """The folder with these params and their prepared images; the stages are silent, use one thread
    and keep no track."""
    os.environ |= {"LINEAGE_THREADS": "1", "LINEAGE_TRACKING": "off"}
    os.environ.pop("DVC_ROOT", None)
    before, text = os.getcwd(), io.StringIO()
    os.chdir(folder)
    try:
        with redirect_stdout(text), redirect_stderr(text):
            files.write_json("params.yaml", values)  # JSON is YAML
            from stages import prepare

            prepare.main()
            yield
    finally:
        os.chdir(before)


def _row(
    arm: str, seed: int, number: int, images: Images, accuracy: dict[str, str]
) -> dict[str, str]:
    labels = str((images.split == "labelled").sum())
    return {"arm": arm, "seed": str(seed), "round": str(number), "labels": labels, **accuracy}


def rows(study: Labelling) -> Rows:
    """Those computed so far."""
    if not study.csv.is_file():
        return []
    with open(study.csv, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def append(path: Path, made: Rows, seconds: float) -> None:
    """Add the rounds of an arm, with the CPU time they took together."""
    made = [{**row, "seconds": f"{seconds:.1f}"} for row in made]
    with open(path, "a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(made[0]), lineterminator="\n")
        if not file.tell():
            writer.writeheader()
        writer.writerows(made)


# --- tables -----------------------------------------------------------------------------------


def table(study: Labelling, made: Rows) -> str:
    """Accuracy by round in %, and what each arm gains on chance, in points, seed by seed."""
    text = ["| labels | model | arm | n | test accuracy | arm - random | seeds above zero |"]
    text.append("|---" * 7 + "|")
    for number in range(1, ROUNDS + 1):
        labels = next(row["labels"] for row in made if row["round"] == str(number))
        for model in study.models:
            chance = _by_seed(made, "random", number, f"acc/{model}")
            for arm in ARMS:
                own = _by_seed(made, arm, number, f"acc/{model}")
                seeds = sorted(set(own) & set(chance))
                if len(seeds) < 2:
                    continue
                values = np.array([own[seed] for seed in seeds])
                gain = values - [chance[seed] for seed in seeds]
                cells = [labels, model, arm, str(len(seeds)), _cell(values)]
                won = f"{(gain > 0).sum()} of {len(seeds)}"
                cells += ["", ""] if arm == "random" else [_cell(gain, "+"), won]
                text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)


def _by_seed(made: Rows, arm: str, number: int, column: str) -> dict[int, float]:
    mine = [row for row in made if (row["arm"], row["round"]) == (arm, str(number))]
    return {int(row["seed"]): 100 * float(row[column]) for row in mine}


def _cell(values: np.ndarray, sign: str = "") -> str:
    mean, half = mean_interval(values)
    return f"{mean:{sign}.2f} ± {half:.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=Path, help="folder of CIFAR-10")
    given = parser.parse_args()
    for study in [digits(), *([cifar10(given.images)] if given.images else [])]:
        print(f"\n{study.name}\n\n{table(study, run(study))}", flush=True)
