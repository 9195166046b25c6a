"""Accuracy against size: what a distilled model keeps of its teacher, what an ensemble costs."""

from __future__ import annotations

from pipeline.report import plots
from pipeline.report.figures import canvas, svg
from pipeline.report.measure import Measured
from pipeline.report.results import Results

BLOCKS = ("distilled", "ensembles")


def section(results: Results) -> dict | None:
    """Every model of the same classes as one that is distilled or an ensemble, drawn; a row for
    each of these. None where there are none."""
    lineage = results.lineage
    rows = [name for name in lineage if lineage[name].block in BLOCKS]
    if not rows:
        return None
    asked = [results.measured[name].classes for name in rows]
    shown = {name: model for name, model in results.measured.items() if model.classes in asked}
    taught = [(lineage[name].parent, name) for name in rows if _teacher(results, name)]
    figure, axes = canvas(5.6, 3.4)
    plots.sizes(axes, shown, taught)
    label = "Accuracy of models against their weights; lines lead from a teacher to its student"
    return {
        "split": results.split,
        "measure": results.measured[rows[0]].shown.measure,
        "drawing": svg(figure, "sizes", label),
        "keeps": results.experiment.keeps,
        "rows": [_row(results, name) for name in rows],
    }


def _teacher(results: Results, name: str) -> Measured | None:
    """Of a distilled model."""
    entry = results.lineage[name]
    return results.measured[entry.parent] if entry.block == "distilled" else None


def _row(results: Results, name: str) -> dict:
    model, teacher = results.measured[name], _teacher(results, name)
    row = {
        "name": name,
        "taught_by": results.lineage[name].taught_by,
        "weights": model.card["num_parameters"],
        "accuracy": model.shown.value,
        "share": None,
        "kept": None,
    }
    if teacher is not None:
        row["share"] = row["weights"] / teacher.card["num_parameters"]
        row["kept"] = row["accuracy"] / teacher.shown.value if teacher.shown.value else None
    return row
