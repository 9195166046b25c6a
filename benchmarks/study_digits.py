"""The claim on digits: the default params on 20 seeds that no choice has seen, test read once each.

`python -m benchmarks.study_digits` (`make study-digits`) continues
`benchmarks/results/study_digits.csv` and prints the tables of `benchmarks/RESULTS.md`. Three arms:
`default` is the chain of params.yaml; `alone` a baseline that goes on as its teacher begins, for as
many images as teacher, generations and labelling see together; `without` its task as it is learnt
without the old images, `t1_lwf` by Learning without Forgetting and `t1_ft` by plain fine-tuning.
"""

from pathlib import Path

import numpy as np

from benchmarks.study import Study, mean_interval, run
from pipeline.core.yaml_file import read

PAIRS = [
    ("acc/g1", "acc/teacher"),
    ("acc/g2", "acc/g1"),
    ("acc/g2", "acc/teacher"),
    ("acc/g2", "acc/alone"),
    ("acc/t1", "acc/t1_lwf"),
    ("acc/t1_lwf", "acc/t1_ft"),
    ("forgetting/t1_lwf", "forgetting/t1"),
    ("forgetting/t1_ft", "forgetting/t1_lwf"),
]
TASKS = ["t1", "t1_lwf", "t1_ft"]
LINEAGE = ["teacher", "g1", "g2"]
MODELS = [*LINEAGE, "alone", *TASKS]
IMAGES = [f"images_seen/{name}" for name in (*LINEAGE, "alone")]
ALONE = 1175  # steps of 24 labelled and 2 x 72 unlabelled images


def study() -> Study:
    """The default chain, its teacher's method alone, and its task without old images."""
    values = read(Path("params.yaml")).values
    task, teacher = values["tasks"]["t1"], values["teacher"]
    others = {
        "t1_lwf": {**task, "methods": {"lwf": {"weight": 1.0, "temperature": 2.0}}},
        "t1_ft": {**task, "methods": {}},
    }
    alone = {"alone": {**teacher, "training": {"steps": ALONE}}}
    idle = {"teacher.training": {"steps": 1, "warmup_steps": 0}, "generations": {}, "tasks": {}}
    arms = {
        "default": {},
        "alone": {"baselines": alone, **idle, "final": "alone"},
        "without": {"tasks": others, "final": "t1_lwf"},
    }
    return Study(
        name="study_digits",
        params=Path("params.yaml"),
        arms={arm: {**changes, "report.register": False} for arm, changes in arms.items()},
        seeds=range(760, 780),
        columns=[f"{split}/{name}" for split in ("acc", "val_acc") for name in MODELS]
        + [f"forgetting/{name}" for name in TASKS]
        + [f"task_acc/{name}/{task}" for name in TASKS for task in ("base", name)]
        + [f"pseudo_labels/{name}/accuracy" for name in ("g1", "g2")]
        + IMAGES,
        test=True,
        arms_first=True,
    )


def by_seed(rows: list[dict[str, str]]) -> dict[str, dict[str, float]]:
    """What all arms found at each seed; a model of several arms is the same in all, but for the
    idle teacher of `alone`."""
    results: dict[str, dict[str, float]] = {}
    for row in rows:
        own = {key: float(value) for key, value in row.items() if "/" in key and value}
        if row["arm"] == "alone":
            own = {key: value for key, value in own.items() if "/alone" in key}
        results.setdefault(row["seed"], {}).update(own)
    return results


def values_of(found: dict[str, dict[str, float]], *columns: str) -> np.ndarray:
    """Of the seeds that have all of these columns, (seeds, columns)."""
    rows = [[row[c] for c in columns] for row in found.values() if row.keys() >= set(columns)]
    return np.array(rows).reshape(-1, len(columns))


def main() -> None:
    """Run what is missing and print means and paired differences, in %."""
    made = study()
    found = by_seed(run(made))
    print("| | n | mean and 95 % interval |\n|---|---|---|")
    for column in (c for c in made.columns if c not in IMAGES):
        mean, half = mean_interval(100 * values_of(found, column)[:, 0])
        print(f"| {column} | {len(values_of(found, column))} | {mean:.2f} ± {half:.2f} |")
    means = [values_of(found, column).mean() for column in IMAGES]
    print(f"\nimages: {sum(means[:-1]):,.0f}, alone {means[-1]:,.0f}")
    print("\n| difference, seed by seed | n | mean and 95 % interval | seeds above zero |")
    print("|---|---|---|---|")
    for after, before in PAIRS:
        both = values_of(found, after, before)
        gains = 100 * (both[:, 0] - both[:, 1])
        mean, half = mean_interval(gains)
        above = f"{(gains > 0).sum()} of {len(gains)}"
        print(f"| {after} - {before} | {len(gains)} | {mean:+.2f} ± {half:.2f} | {above} |")


if __name__ == "__main__":
    main()
