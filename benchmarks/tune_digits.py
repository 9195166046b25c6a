"""The search behind the default recipe: val accuracy on digits, seeds 0 to 4, test never read.

`python -m benchmarks.tune_digits` continues `benchmarks/results/tune_digits.csv`.
"""

from benchmarks.study import Study, run, summary

BEFORE = {
    "training.steps": 400,
    "training.magnitude": 6,
    "labels.share": 0.6,
    "labels.kind": "soft",
    "labels.temperature": 1.0,
    "tasks": {},
    "final": "g3",
}
STUDY = Study(
    name="tune_digits",
    arms={
        "default600": {**BEFORE, "training.steps": 600},
        "base": BEFORE,
        "magnitude10": {**BEFORE, "training.magnitude": 10},
        "ops3": {**BEFORE, "training.num_ops": 3},
        "hard": {**BEFORE, "labels.kind": "hard"},
        "share0.8": {**BEFORE, "labels.share": 0.8},
        "share0.4": {**BEFORE, "labels.share": 0.4},
        "sharp": {**BEFORE, "labels.temperature": 0.5},
    },
    seeds=range(5),
    columns=[f"val_acc/{name}" for name in ("teacher", "g1", "g2", "g3")],
    test=False,
)

if __name__ == "__main__":
    print(summary(STUDY, run(STUDY)))
