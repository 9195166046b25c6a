"""What was kept and what was forgotten, task by task."""

import numpy as np

from pipeline.report import continual
from pipeline.report.results import Results


def section(results: Results) -> dict | None:
    """The task matrix of every model that ends a chain of tasks, the candidate's first."""
    lineage = results.lineage
    tasks = lineage.of("tasks")
    bases = {lineage[name].parent for name in tasks}
    ends = [name for name in tasks if name not in bases]
    ends.sort(key=lambda name: name != lineage.final)
    return {"matrices": [_matrix(results, name) for name in ends]} if ends else None


def _matrix(results: Results, name: str) -> dict:
    measured, split = results.measured, results.split
    names, share = continual.matrix(measured, name, split)
    heads = {head["task"]: head["classes"] for head in measured[name].card["heads"]}
    prefix = "val_" if split == "val" else ""
    known = [results.metrics[f"{prefix}task_acc_told/{name}/{task}"] for task in names]
    rows = zip(continual.chain(measured, name), share.tolist())
    return {
        "name": name,
        "split": split,
        "tasks": [(task, heads[task]) for task in names],
        "rows": [(model, [None if np.isnan(s) else s for s in shares]) for model, shares in rows],
        "task_known": known,
        "forgetting": continual.forgetting(share),
        "backward_transfer": continual.backward_transfer(share),
    }
