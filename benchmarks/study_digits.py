"""The claim on digits: the default params on 20 seeds that no choice has seen, test read once each.

`python -m benchmarks.study_digits` (`make study-digits`) continues
`benchmarks/results/study_digits.csv` and prints the tables of `benchmarks/RESULTS.md`. The chain is
params.yaml's with `alone`, a baseline that goes on as its teacher begins, for as many images as
teacher, generations and labelling see together, and with two tasks more: the default one as it is
learnt without the old images, `t1_lwf` by Learning without Forgetting and `t1_ft` by plain
fine-tuning.
"""

from dataclasses import replace
from pathlib import Path

from benchmarks.study import Study, mean_interval, paired, run, summary
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
IMAGES = [*LINEAGE, "alone"]
ALONE = 1070  # steps of 24 labelled and 2 x 72 unlabelled images


def study() -> Study:
    """The default chain, its teacher's method alone, and its task without old images."""
    values = read(Path("params.yaml")).values
    task = values["tasks"]["t1"]
    more = {
        "baselines.alone": {**values["teacher"], "training": {"steps": ALONE}},
        "tasks.t1_lwf": {**task, "methods": {"lwf": {"weight": 1.0, "temperature": 2.0}}},
        "tasks.t1_ft": {**task, "methods": {}},
    }
    return Study(
        name="study_digits",
        params=Path("params.yaml"),
        arms={"default": {**more, "report.register": False}},
        seeds=range(740, 760),
        columns=[f"{split}/{name}" for split in ("acc", "val_acc") for name in MODELS]
        + [f"forgetting/{name}" for name in TASKS]
        + [f"task_acc/{name}/{task}" for name in TASKS for task in ("base", name)]
        + [f"pseudo_labels/{name}/accuracy" for name in ("g1", "g2")]
        + [f"images_seen/{name}" for name in IMAGES],
        test=True,
    )


def main() -> None:
    """Run what is missing and print means and paired differences, in %."""
    results = study()
    table = run(results)
    shares = [name for name in results.columns if not name.startswith("images_seen/")]
    print(summary(replace(results, columns=shares), table))
    seen = {name: sum(float(row[f"images_seen/{name}"]) for row in table) for name in IMAGES}
    lineage, alone = sum(seen[name] for name in LINEAGE), seen["alone"]
    print(f"\nimages: {lineage / len(table):,.0f}, alone {alone / len(table):,.0f}")
    print("\n| difference, seed by seed | n | mean and 95 % interval | seeds above zero |")
    print("|---|---|---|---|")
    for after, before in PAIRS:
        values = 100 * paired(table, after, before, "default")
        mean, half = mean_interval(values)
        above = f"{(values > 0).sum()} of {len(values)}"
        print(f"| {after} - {before} | {len(values)} | {mean:+.2f} ± {half:.2f} | {above} |")


if __name__ == "__main__":
    main()
