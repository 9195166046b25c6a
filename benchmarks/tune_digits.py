"""The search behind the default recipe: val accuracy on digits, seeds 0 to 4, test never read.

`python -m benchmarks.tune_digits` continues `benchmarks/results/tune_digits.csv`.
"""

from benchmarks.study import Study, run, summary

STUDY = Study(
    name="tune_digits",
    arms={
        "default600": {},
        "base": {"training.steps": 400},
        "magnitude10": {"training.steps": 400, "training.magnitude": 10},
        "ops3": {"training.steps": 400, "training.num_ops": 3},
        "hard": {"training.steps": 400, "labels.kind": "hard"},
        "share0.8": {"training.steps": 400, "labels.share": 0.8},
        "share0.4": {"training.steps": 400, "labels.share": 0.4},
        "sharp": {"training.steps": 400, "labels.temperature": 0.5},
    },
    seeds=range(5),
    columns=[f"val_acc/{name}" for name in ("teacher", "g1", "g2", "g3")],
    test=False,
)

if __name__ == "__main__":
    print(summary(STUDY, run(STUDY)))
