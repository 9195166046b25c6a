"""What was kept and what was forgotten, task by task."""

import numpy as np

from pipeline.data import tasks
from pipeline.report import continual, plots
from pipeline.report.figures import canvas, svg
from pipeline.report.results import Results


def section(results: Results) -> dict | None:
    """The task matrix of every model that ends a chain of tasks, the candidate's first."""
    lineage = results.lineage
    extended = lineage.of("tasks")
    bases = {lineage[name].parent for name in extended}
    ends = [name for name in extended if name not in bases]
    ends.sort(key=lambda name: name != lineage.final)
    return {"matrices": [_matrix(results, name) for name in ends]} if ends else None


def _matrix(results: Results, name: str) -> dict:
    measured, split = results.measured, results.split
    names, share = continual.matrix(measured, name, split)
    card = measured[name].card
    heads = {head["task"]: head["classes"] for head in card["heads"]}
    classes = {task: heads[head] for task, head in tasks.learnt(card)}
    prefix = "val_" if split == "val" else ""
    known = [results.metrics[f"{prefix}task_acc_told/{name}/{task}"] for task in names]
    rows = zip(continual.chain(measured, name), share.tolist())
    return {
        "name": name,
        "split": split,
        "tasks": [(task, classes[task]) for task in names],
        "rows": [(model, [None if np.isnan(s) else s for s in shares]) for model, shares in rows],
        "task_known": known,
        "forgetting": continual.forgetting(share),
        "backward_transfer": continual.backward_transfer(share),
        "forward_transfer": results.metrics.get(f"{prefix}fwt/{name}"),
        "over_time": _over_time(results, name, names),
    }


def _over_time(results: Results, name: str, names: list[str]) -> dict:
    """How each task went while the last one was learnt, and the score of that."""
    figure, axes = canvas(4.6, 3.3)
    plots.tasks_over_time(axes, plots.curve(results.measured[name].card), names)
    said = f"Val accuracy on each task while {name} was learnt"
    picture = svg(figure, f"tasks-{name}", said)
    return {"picture": picture, "score": results.measured[name].card["metrics"]}
