"""Noisy Student against baselines, and what each part of it is worth.

`python -m benchmarks.study_noisy_student` (`make study-noisy-student`) continues two CSVs in
`benchmarks/results/` and prints the tables of `benchmarks/RESULTS.md`:

- `noisy_student_digits`: the digits, one arm for each part left out or changed;
- `noisy_student_cifar10`: CIFAR-10 at 16x16 pixels, with `--images` a folder that holds CIFAR-10 as
  `train/<class>/` and `test/<class>/`; without it that study is left out.

Baselines: `supervised` has the last generation's network and noise, but labels alone, for as many
steps (on CIFAR-10, where students go on from their teachers' weights, of all generations together);
`uda` and `fixmatch` see as many images as the whole lineage, all forward passes counted: those of
the training of every model and those that made the pseudo-labels.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.study import CIFAR10_PARAMS, Study, mean_interval, paired, rows, run

FIXMATCH = {"methods": {"fixmatch": {"weight": 1.0, "threshold": 0.95}}}
UDA = {
    "methods": {"uda": {"weight": 1.0, "threshold": 0.8, "temperature": 0.4, "ramp_steps": 0}},
}

# --- digits -----------------------------------------------------------------------------------

DIGITS_IMAGES = 2 * 400 * 24 * 6 + 400 * 24 + 2 * 850  # students, teacher, labelling
DIGITS_STEPS = round(DIGITS_IMAGES / (24 * 11))  # a step: labelled, weak and strong views
STUDENTS = ("g1", "g2")


def each(key: str, value: object) -> dict[str, object]:
    """A change for the students, and for none else."""
    return {f"generations.g1.{key}": value}


def digits() -> Study:
    """Two generations and their baselines; then arms of one generation, each with one change.
    At a seed all have the same teacher, but for `no EMA`."""
    first = {"teacher": "teacher", "network": "small_cnn"}
    wide = {"network": "wide_cnn"}
    fewer = {"training": {"steps": DIGITS_STEPS, "warmup_steps": 50}}
    baselines = {
        "supervised": wide,
        "uda": {**UDA, **wide, **fewer},
        "fixmatch": {**FIXMATCH, **wide, **fewer},
    }
    common = {"tasks": {}, "report.register": False}
    default = {
        "generations": {"g1": first, "g2": {"teacher": "g1", **wide}},
        "baselines": baselines,
        "final": "g2",
    }
    one = {"generations": {"g1": first}, "final": "g1"}
    changes = {
        "no RandAugment": each("training.num_ops", 0),
        "no dropout": each("training.dropout", 0.0),
        "no noise": each("training.num_ops", 0)
        | each("training.dropout", 0.0)
        | each("training.shift", 0),
        "hard labels": each("labels.kind", "hard"),
        "no balance": each("labels.balance", "none"),
        "all images": each("labels.share", 1.0) | each("labels.threshold", 0.0),
        "threshold 0.9": each("labels.share", 1.0) | each("labels.threshold", 0.9),
        "aligned": each("labels.align", "uniform"),
        "no EMA": {"training.ema": 0.0},
        "larger student": {"generations.g1.network": "wide_cnn"},
        "from teacher": each("init", "teacher"),
        "separate BN": each("training.batch_norm", "separate"),
    }
    arms = {"default": common | default}
    return Study(
        name="noisy_student_digits",
        arms=arms | {arm: common | one | change for arm, change in changes.items()},
        seeds=range(200, 210),
        columns=[f"acc/{name}" for name in ("teacher", *STUDENTS, *baselines)]
        + [f"val_acc/{name}" for name in ("teacher", *STUDENTS)]
        + [f"pseudo_labels/{name}/{what}" for name in STUDENTS for what in WHAT]
        + ["seconds"],
        test=True,
    )


WHAT = ("accuracy", "kept_share")

# --- CIFAR-10 ---------------------------------------------------------------------------------

GENERATIONS = ("g1", "g2", "g3")
# teacher, g1, g2, g3, labelling under two transforms
CIFAR10_IMAGES = 2500 * 128 + (3000 + 3000 + 4000) * 64 * 6 + 3 * 2 * 41_000
CIFAR10_STEPS = round(CIFAR10_IMAGES / (64 * 15))  # a step: labelled, weak and strong views


def cifar10(images: Path, seeds: range, test: bool) -> Study:
    """The lineage, and two baselines each by itself."""
    common = {"data.root": str(images.resolve()), "report.register": False}
    model = {"network": "resnet_9", "width": 0.25}
    alone = {"generations": {}, "teacher.training": {"steps": 1, "warmup_steps": 0}}
    arms = {"lineage": dict(common)}
    for name, options in {"uda": UDA, "fixmatch": FIXMATCH}.items():
        training = {"steps": CIFAR10_STEPS, "unlabelled_ratio": 7, "labelled_view": "weak"}
        baseline = {name: {**options, **model, "training": training}}
        arms[name] = common | alone | {"baselines": baseline, "final": name}
    return Study(
        name="noisy_student_cifar10",
        arms=arms,
        seeds=seeds,
        columns=[
            f"{split}/{name}"
            for split in ("acc", "val_acc")
            for name in ("teacher", *GENERATIONS, "supervised", "uda", "fixmatch")
        ]
        + [f"pseudo_labels/{name}/accuracy" for name in GENERATIONS]
        + [f"images_seen/{n}" for n in ("teacher", *GENERATIONS, "supervised", "uda", "fixmatch")]
        + ["seconds"],
        test=test,
        params=CIFAR10_PARAMS,
        arms_first=True,
    )


# --- tables -----------------------------------------------------------------------------------


def against(table: list[dict[str, str]], arm: str, column: str) -> np.ndarray:
    """`column` of an arm minus that of `default`, seed by seed, in points."""
    values = {(row["arm"], row["seed"]): float(row[column]) for row in table if row[column]}
    seeds = [seed for name, seed in values if name == arm and ("default", seed) in values]
    return 100 * np.array([values[arm, seed] - values["default", seed] for seed in seeds])


def line(name: str, values: np.ndarray) -> str:
    """A row of a table of differences."""
    if len(values) < 2:
        return f"| {name} | {len(values)} | n/a | n/a |"
    mean, half = mean_interval(values)
    above = f"{(values > 0).sum()} of {len(values)}"
    return f"| {name} | {len(values)} | {mean:+.2f} ± {half:.2f} | {above} |"


def differences(rows: Mapping[str, np.ndarray]) -> str:
    """A table of paired differences in points."""
    head = "| difference, seed by seed | n | mean and 95 % interval | seeds above zero |"
    return "\n".join([head, "|---|---|---|---|", *(line(n, v) for n, v in rows.items())])


def models_table(table: list[dict[str, str]], arms: Mapping[str, str]) -> str:
    """Accuracies and images of every model, mean and 95 % interval over the seeds of its arm."""
    lines = [
        "| model | n | test, % | val, % | labels right, % | million images |",
        "|---" * 6 + "|",
    ]
    for name, arm in arms.items():
        mine = [row for row in table if row["arm"] == arm]
        columns = [f"acc/{name}", f"val_acc/{name}", f"pseudo_labels/{name}/accuracy"]
        cells = [interval([100 * float(row[c]) for row in mine if row.get(c)]) for c in columns]
        images = {
            float(row[f"images_seen/{name}"]) / 1e6 for row in mine if "images_seen/g1" in row
        }
        cells.append(", ".join(f"{number:.3g}" for number in images))
        lines.append(f"| {name} | {len(mine)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def interval(values: list[float]) -> str:
    """Mean and half width of the 95 % interval."""
    if len(values) < 2:
        return ""
    mean, half = mean_interval(np.array(values))
    return f"{mean:.2f} ± {half:.2f}"


def digits_tables(study: Study, table: list[dict[str, str]]) -> str:
    """The default arm in full; every other against it."""
    names = ("teacher", *STUDENTS, "supervised", "uda", "fixmatch")
    gains = {
        f"g2 - {name}": 100 * paired(table, "acc/g2", f"acc/{name}", "default")
        for name in ("teacher", "supervised", "uda", "fixmatch")
    }
    arms = [arm for arm in study.arms if arm != "default"]
    changes = {f"{arm} - default, g1": against(table, arm, "acc/g1") for arm in arms}
    models = models_table(table, dict.fromkeys(names, "default"))
    return "\n\n".join([models, differences(gains), differences(changes)])


def cifar10_tables(study: Study, table: list[dict[str, str]]) -> str:
    """Every model; the last generation against the rest."""
    names = ("teacher", *GENERATIONS, "supervised", "uda", "fixmatch")
    arms = {name: name if name in study.arms else "lineage" for name in names}
    results = {(row["arm"], row["seed"]): row for row in table}
    gains: dict[str, np.ndarray] = {}
    for name in ("teacher", "supervised", "uda", "fixmatch"):
        seeds = [s for a, s in results if a == "lineage" and (arms[name], s) in results]
        theirs = np.array([float(results[arms[name], s][f"acc/{name}"]) for s in seeds])
        mine = np.array([float(results["lineage", s]["acc/g3"]) for s in seeds])
        gains[f"g3 - {name}"] = 100 * (mine - theirs)
    return "\n\n".join([models_table(table, arms), differences(gains)])


def main() -> None:
    """Run what is missing, print means and paired differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="CIFAR-10 as train/<class>/, test/<class>/")
    parser.add_argument("--only", choices=("digits", "cifar10"), help="one of the two studies")
    parser.add_argument("--seeds", type=int, default=3, help="of CIFAR-10, from 100 on")
    parser.add_argument("--table", action="store_true", help="print what stands in the files")
    options = parser.parse_args()
    if options.only != "cifar10":
        study = digits()
        print(digits_tables(study, rows(study) if options.table else run(study)))
    if options.images and options.only != "digits":
        study = cifar10(options.images, range(100, 100 + options.seeds), test=True)
        table = rows(study) if options.table else run(study)
        print(cifar10_tables(study, table))


if __name__ == "__main__":
    main()
