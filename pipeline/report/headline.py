"""The first screen: what ships, why, and the numbers that one remembers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data import tasks
from pipeline.pages.formats import counted
from pipeline.report import continual
from pipeline.report.gate import rule
from pipeline.report.measure import Measured
from pipeline.report.results import Results


@dataclass(frozen=True)
class Tile:
    """A model of the first screen, and one of three notes on it.

    Attributes:
        role: what it is in the experiment.
        labels: what it learnt from.
        gain: how far a model is ahead of another, on the same images.
        kept: what a new task reached, and what the first task lost.
    """

    name: str
    role: str
    model: Measured
    labels: str | None = None
    gain: dict | None = None
    kept: dict | None = None


def headline(results: Results) -> dict:
    """The values of the page's head."""
    final = results.lineage.final
    return {
        "source": results.experiment.source,
        "ships": results.ships,
        "refused": None if results.ships == final else final,
        "model": results.measured[results.ships],
        "guess": _guess(results.measured[results.ships]),
        "why": results.verdict.why,
        "rule": rule(results.measured[results.ships].shown.measure),
        "champion": results.champion,
        "tiles": tiles(results),
    }


def _guess(model: Measured) -> float | None:
    """The share that always answering the most frequent class has right, 0..1, where the model may
    be no better: its interval does not begin above that."""
    if model.shown.unit != "image":
        return None
    most = float(np.bincount(model.shown.labels.numpy()).max() / len(model.shown.labels))
    return most if model.shown.interval[0] <= most else None


def tiles(results: Results) -> list[Tile]:
    """Teacher, last generation, the candidate where that is more than a generation, the best
    baseline."""
    last, final = results.experiment.last_generation, results.lineage.final
    teacher = results.lineage.chain(final)[0]
    shown = [_first(results, teacher)]
    if last != teacher:
        shown.append(_last(results, last, teacher))
    if final != last:
        shown.append(_candidate(results, final))
    if baselines := results.lineage.of("baselines"):
        measured = results.measured
        best = max(baselines, key=lambda name: measured[name].answers["val"].value)
        shown.append(_baseline(results, best, last))
    return shown


def _first(results: Results, name: str) -> Tile:
    model = results.measured[name]
    return Tile(name, "the first model", model, labels=_given(results.data[0].labels))


def _given(labels: Sequence[int]) -> str:
    """The labelled images of each class in words."""
    classes, low, high = f"{len(labels)} classes", min(labels), max(labels)
    if low == high:
        return f"{counted(low, 'label')} a class, {classes}"
    return f"{sum(labels):,} labels, {low:,} to {high:,} a class, {classes}"


def _last(results: Results, name: str, teacher: str) -> Tile:
    chain, generations = results.lineage.chain(name), results.lineage.of("generations")
    role = f"after {counted(len(set(chain) & set(generations)), 'generation')}"
    return Tile(name, role, results.measured[name], gain=_gain(results, name, teacher))


def _candidate(results: Results, name: str) -> Tile:
    model, entry = results.measured[name], results.lineage[name]
    if entry.block == "distilled":
        teacher = results.measured[entry.parent].card["num_parameters"]
        share = model.card["num_parameters"] / teacher
        role = f"distilled from {entry.parent}, {share:.0%} of its weights"
        return Tile(name, role, model, gain=_gain(results, name, entry.parent))
    role = f"with {counted(len(tasks.learnt(model.card)) - 1, 'new task')}"
    return Tile(name, role, model, kept=_kept(results, name))


def _baseline(results: Results, name: str, last: str) -> Tile:
    ways = " + ".join(results.lineage[name].methods) or "labels alone"
    role = f"the best baseline on val, {ways}"
    return Tile(name, role, results.measured[name], gain=_gain(results, last, name))


def _gain(results: Results, name: str, other: str) -> dict:
    mine, theirs = (results.measured[n].shown for n in (name, other))
    change, low, high = mine.gain(theirs)
    certain = low > 0 or high < 0
    values = {"change": change, "low": low, "high": high, "certain": certain}
    return values | {"name": name, "other": other}


def _kept(results: Results, name: str) -> dict:
    measured = results.measured
    names, share = continual.matrix(measured, name, results.split)
    return {
        "new": share[-1, -1],
        "new_classes": continual.newest_classes(measured[name].card),
        "first_task": names[0],
        "first": share[-1, 0],
        "before": share[0, 0],
        "model_before": continual.chain(measured, name)[0],
    }
