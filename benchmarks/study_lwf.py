"""The table of Learning without Forgetting (Li and Hoiem 2016): ways to learn a task B on a model
of a task A, with a head each and the task known, and what each costs A and B.

Fine-tuning, the fully connected layers alone (`fc`), the new head alone (`features`, feature
extraction), LwF, Less-forgetting Learning, Learning without Memorizing, and `joint`, which alone
sees A's images. `duplicate`, a copy of the network for B, is fine-tuning's B and the model's own A.
Of each, four candidates are tried on val, on seeds 0 to 2, and the one with the highest mean
accuracy on A and B at the end is taken: four learning rates, or two of them and two weights.

`python -m benchmarks.study_lwf` (`make study-lwf`) continues the search and the ten seeds from
100 on in `results/*lwf_digits.csv` and prints the table, with `--images <folder>` those of CIFAR-10
too.
"""

from __future__ import annotations

from benchmarks.continual import Pair, Row, Task, cell, options, pairs

STEPS = 200  # of CIFAR-10, so that the study fits into an hour of two cores
RATES = [0.1, 0.05, 0.02, 0.005]
WEIGHTED = {
    "lwf": [{"lwf": {"weight": weight}} for weight in (1.0, 5.0)],
    "lfl": [{"lfl": {"weight": weight}} for weight in (1.0, 30.0)],
    "lwm": [{"lwf": {}, "lwm": {"weight": weight}} for weight in (0.1, 1.0)],
}
TRAINED = {"fine-tuning": "all", "fc": "fc", "features": "new_head"}
A, B = "task_acc/{}/base", "task_acc/{0}/{0}"


def candidates() -> dict[str, list[Task]]:
    """Four of every arm."""
    arms: dict[str, list[Task]] = {}
    for name, trained in TRAINED.items():
        arms[name] = [{"training": {"learning_rate": rate, "train": trained}} for rate in RATES]
    for name, choices in WEIGHTED.items():
        arms[name] = [
            {"training": {"learning_rate": rate}, "methods": methods}
            for rate in (0.05, 0.01)
            for methods in choices
        ]
    arms["joint"] = [{"training": {"learning_rate": rate}, "joint": True} for rate in RATES]
    return arms


def table(rows: list[Row], arms: list[str]) -> str:
    """A and B on test, and both relative to LwF, seed by seed."""
    lines = [f"| %, n = {len(rows)} | A | B | mean | A - LwF's | B - LwF's |", "|---" * 6 + "|"]
    for arm in [*arms, "duplicate"]:
        old, new = (_values(rows, arm, column) for column in (A, B))
        lwf_old, lwf_new = (_values(rows, "lwf", column) for column in (A, B))
        mean = [(one + other) / 2 for one, other in zip(old, new, strict=True)]
        relative = [
            cell([one - other for one, other in zip(mine, theirs, strict=True)], "+")
            for mine, theirs in ((old, lwf_old), (new, lwf_new))
        ]
        cells = [cell(old), cell(new), cell(mean), *relative]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _values(rows: list[Row], arm: str, column: str) -> list[float]:
    """Test accuracies of an arm; what a copy of the network leaves is the model itself."""
    if arm == "duplicate":
        return _values(rows, "fine-tuning", B) if column == B else _base(rows)
    return [float(row[column.format(arm)]) for row in rows]


def _base(rows: list[Row]) -> list[float]:
    return [float(row["acc/teacher"]) for row in rows]


def main(pair: Pair) -> None:
    """Run what is missing and print the table."""
    chosen = pair.choose("lwf", candidates(), "val_task_mean/{}")
    rows = pair.claim("lwf", chosen, [A, B, "forgetting/{}"])
    print(table(rows, list(chosen)))


if __name__ == "__main__":
    given = options(__doc__)
    for pair in pairs("task", given.images, STEPS):
        main(pair)
