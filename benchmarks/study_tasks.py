"""LwF against fine-tuning at two learning rates, on fresh seeds, test read once each.

Fine-tuning forgets less at a low rate, so it is shown at its better one too. All four extend the
same generation. `python -m benchmarks.study_tasks` continues `benchmarks/results/study_tasks.csv`.
"""

from benchmarks.study import Study, mean_interval, paired, run, summary
from benchmarks.tune_tasks import TASKS

NAMES = ["lwf05", "ft05", "lwf01", "ft01"]
PAIRS = [
    (what.format(better), what.format(other))
    for better, other in (("lwf05", "ft05"), ("lwf01", "ft01"), ("lwf05", "ft01"))
    for what in ("acc/{}", "forgetting/{}")
]
STUDY = Study(
    name="study_tasks",
    arms={
        "default": {
            "tasks": {name: TASKS[name] for name in NAMES},
            "final": "g3",
            "report.register": False,
        }
    },
    seeds=range(100, 120),
    columns=[f"{what}/{name}" for name in NAMES for what in ("acc", "forgetting")],
    test=True,
)


def main() -> None:
    """Run what is missing and print means and paired differences, in %."""
    table = run(STUDY)
    print(summary(STUDY, table))
    print("\n| difference, seed by seed | n | mean and 95 % interval |\n|---|---|---|")
    for after, before in PAIRS:
        values = 100 * paired(table, after, before, "default")
        mean, half = mean_interval(values)
        print(f"| {after} - {before} | {len(values)} | {mean:+.2f} ± {half:.2f} |")


if __name__ == "__main__":
    main()
