"""Meta Pseudo Labels against Noisy Student and UDA, at equal images.

`python -m benchmarks.study_meta` (`make study-meta`) continues two CSVs in `benchmarks/results/`
and prints the tables of `benchmarks/RESULTS.md`:

- `meta_digits`: the digits; a pair that begins with a teacher from labels, against two generations;
- `meta_cifar10`: CIFAR-10 with a pair in the place of the last of three generations; needs
  `--images`, a folder that holds CIFAR-10 as `train/<class>/` and `test/<class>/`.

All that is compared has seen as many images: every forward pass through any network is counted,
those without a gradient and those of the teacher too, from the first labelled image on. So `none`
(no feedback: the teacher learns from labels and consistency alone) makes more steps in the same
budget. Settings were chosen on val at other seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.study import CIFAR10_PARAMS, DROP, Study, rows, run
from benchmarks.study_noisy_student import (
    DIGITS_IMAGES,
    DIGITS_STEPS,
    UDA,
    cifar10,
    differences,
    models_table,
)

CONSISTENCY = {"weight": 1.0, "threshold": 0.8, "temperature": 0.4, "confidence": "plain"}
PAIRS = {"m1": "loss_difference", "m2": "none"}
LABELLED_PASSES = {"inner_product": 1, "loss_difference": 2, "none": 0}


def images_per_step(batch_size: int, ratio: int, feedback: str) -> int:
    """Through either network: the teacher's labelled, weak and strong views, the student's
    unlabelled and labelled ones."""
    unlabelled = ratio * batch_size
    teacher, student = batch_size + 2 * unlabelled, unlabelled
    return teacher + student + LABELLED_PASSES[feedback] * batch_size


def pair(feedback: str, images: int, fine_tune: int, training: dict, **options) -> dict:
    """An entry of `meta_pseudo_labels` that sees so many images, its clean end counted."""
    size, ratio = training["batch_size"], training["unlabelled_ratio"]
    per_step = images_per_step(size, ratio, feedback)
    steps = round((images - fine_tune * size) / per_step)
    return {
        "feedback": feedback,
        "uda": dict(CONSISTENCY),
        "training": training | {"steps": steps},
        "fine_tune": {"steps": fine_tune, "learning_rate": 0.01, "image_size": 0},
        **options,
    }


# --- digits -----------------------------------------------------------------------------------

TEACHER_STEPS = 100
PAIR = {"batch_size": 24, "unlabelled_ratio": 3}


def digits() -> Study:
    """Two generations; and the pairs and UDA, all with the last generation's network."""
    common = {"tasks": {}, "report.register": False}
    wide = {"network": "wide_cnn"}
    first = {"teacher": "teacher", "network": "small_cnn"}
    lineage = {"generations": {"g1": first, "g2": {"teacher": "g1", **wide}}, "final": "g2"}
    left = DIGITS_IMAGES - TEACHER_STEPS * 24
    options = {"teacher": "teacher", "teacher_learning_rate": 0.05, **wide}
    uda = {**UDA, **wide, "training": {"steps": DIGITS_STEPS, "warmup_steps": 50}}
    meta = {
        "teacher": {**wide, "training": {"steps": TEACHER_STEPS}},
        "generations": {},
        "meta_pseudo_labels": {
            name: pair(feedback, left, 50, dict(PAIR), **options)
            for name, feedback in PAIRS.items()
        },
        "baselines": {"uda": uda},
        "final": "m1",
    }
    return Study(
        name="meta_digits",
        arms={"lineage": common | lineage, "meta": common | meta},
        seeds=range(300, 320),
        columns=columns(("teacher", "g1", "g2", "m1", "m2", "uda"), tuple(PAIRS)),
        test=True,
    )


def columns(names: tuple[str, ...], pairs: tuple[str, ...]) -> list[str]:
    """What a row keeps of each model."""
    both = [*names, *(f"{name}-teacher" for name in pairs)]
    results = [f"{split}/{name}" for split in ("acc", "val_acc", "images_seen") for name in both]
    return [*results, "seconds"]


# --- CIFAR-10 ---------------------------------------------------------------------------------

# g3: its steps, and the two passes over the unlabelled images that made its labels
LAST_GENERATION = 4000 * 64 * 6 + 2 * 41_000


def cifar10_pairs(images: Path, seeds: range) -> Study:
    """Generations with pairs in the place of g3, each with its images."""
    training = {"batch_size": 64, "unlabelled_ratio": 5, "learning_rate": 0.02}
    options = {"teacher": "g2", "init": "teacher", "network": "resnet_9", "width": 0.25}
    options |= {"teacher_learning_rate": 0.02}
    changes = {
        "data.root": str(images.resolve()),
        "report.register": False,
        "generations.g3": DROP,
        "baselines": {},
        "meta_pseudo_labels": {
            name: pair(feedback, LAST_GENERATION, 500, dict(training), **options)
            for name, feedback in PAIRS.items()
        },
        "final": "m1",
    }
    return Study(
        name="meta_cifar10",
        arms={"meta": changes},
        seeds=seeds,
        columns=columns(("teacher", "g1", "g2", *PAIRS), tuple(PAIRS)),
        test=True,
        params=CIFAR10_PARAMS,
    )


# --- tables -----------------------------------------------------------------------------------


def together(*tables: list[dict[str, str]]) -> list[dict[str, str]]:
    """One row a seed, of those that every table has; a later table fills what an earlier lacks."""
    by_seed = [{row["seed"]: row for row in table} for table in tables]
    seeds = set.intersection(*(set(results) for results in by_seed))
    merged = []
    for seed in sorted(seeds, key=int):
        row: dict[str, str] = {}
        for results in by_seed:
            row |= {key: value for key, value in results[seed].items() if value}
        merged.append(row | {"arm": "all"})
    return merged


def gains(table: list[dict[str, str]], ours: str, others: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Test accuracy of one model minus each other's, seed by seed, in points."""
    mine = np.array([float(row[f"acc/{ours}"]) for row in table])
    theirs = {name: np.array([float(row[f"acc/{name}"]) for row in table]) for name in others}
    return {f"{ours} - {name}": 100 * (mine - values) for name, values in theirs.items()}


def tables(table: list[dict[str, str]], names: tuple[str, ...], others: tuple[str, ...]) -> str:
    """Every model, and the pair against the others."""
    if len(table) < 2:
        return f"{len(table)} whole seeds so far"
    models = models_table(table, dict.fromkeys(names, "all"))
    return "\n\n".join([models, differences(gains(table, "m1", others))])


def digits_tables(results: list[dict[str, str]]) -> str:
    """Of the rows of both arms."""
    arms = [[row for row in results if row["arm"] == arm] for arm in ("lineage", "meta")]
    for row in arms[0]:  # another teacher than the pairs'
        row["acc/teacher (400 steps)"] = row.pop("acc/teacher")
    names = ("g1", "g2", "teacher", "m1", "m1-teacher", "m2", "m2-teacher")
    others = ("m1-teacher", "m2", "m2-teacher", "g2", "uda")
    return tables(together(*arms), (*names, "uda"), others)


def cifar10_tables(pairs: list[dict[str, str]], before: list[dict[str, str]]) -> str:
    """Of the pairs, and of the chains whose last generation they replace."""
    arms = [[row for row in before if row["arm"] == arm] for arm in ("lineage", "uda")]
    named = [
        {**row, "acc/teacher": "", "val_acc/teacher": "", "images_seen/teacher": ""}
        for row in arms[1]  # its teacher was never trained
    ]
    table = together(arms[0], named, pairs)
    names = ("teacher", "g1", "g2", "g3", "m1", "m1-teacher", "m2", "m2-teacher", "uda")
    return tables(table, names, ("g2", "m1-teacher", "m2", "m2-teacher", "g3", "uda"))


def main() -> None:
    """Run what is missing, print means and paired differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="CIFAR-10 as train/<class>/, test/<class>/")
    parser.add_argument("--only", choices=("digits", "cifar10"), help="one of the two studies")
    parser.add_argument("--table", action="store_true", help="print what stands in the files")
    options = parser.parse_args()
    made = rows if options.table else run
    if options.only != "cifar10":
        print(digits_tables(made(digits())))
    if options.images and options.only != "digits":
        seeds = range(100, 103)
        before = cifar10(options.images, seeds, test=True)
        print(cifar10_tables(made(cifar10_pairs(options.images, seeds)), rows(before)))


if __name__ == "__main__":
    main()
