"""The search behind the default task: val accuracy over all ten digits, seeds 0 to 4.

All variants extend the same generation in one chain. `python -m benchmarks.tune_tasks` continues
`benchmarks/results/tune_tasks.csv`.
"""

from benchmarks.study import Study, run, summary


def task(methods: dict, rate: float, steps: int) -> dict:
    """A variant of the default task."""
    return {
        "base": "g3",
        "scenario": "class",
        "classes": ["8", "9"],
        "data": {"root": "data/digits"},
        "labels_per_class": 10,
        "methods": methods,
        "training": {"learning_rate": rate, "steps": steps},
    }


def lwf(weight: float = 1.0) -> dict:
    """Learning without Forgetting, of this weight."""
    return {"lwf": {"weight": weight, "temperature": 2.0, "warmup_steps": 100}}


TASKS = {
    "lwf05": task(lwf(), 0.05, 400),
    "lwf01": task(lwf(), 0.01, 400),
    "lwf01short": task(lwf(), 0.01, 200),
    "lwf003": task(lwf(), 0.003, 400),
    "lwf01w4": task(lwf(weight=4.0), 0.01, 400),
    "ft05": task({}, 0.05, 400),
    "ft01": task({}, 0.01, 400),
    "ft003": task({}, 0.003, 400),
}
STUDY = Study(
    name="tune_tasks",
    arms={"default": {"tasks": TASKS, "final": "g3"}},
    seeds=range(5),
    columns=[f"val_{what}/{t}" for t in TASKS for what in ("acc", "forgetting")],
    test=False,
)

if __name__ == "__main__":
    print(summary(STUDY, run(STUDY)))
