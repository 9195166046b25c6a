"""How long each stage of the chain is going to take, from what was measured on this machine."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.core import machine
from pipeline.params.schema import Params
from pipeline.proposal.rehearsal import Pace, models

# in starts of a stage, which is mostly imports: the report imports MLflow and draws, DVC looks at
# all files before and after
REPORT_STARTS, DVC_STARTS = 5, 2


class Counts(NamedTuple):
    """Images of the base task."""

    files: int  # to decode
    val: int
    test: int
    unlabelled: int


class Speed(NamedTuple):
    """Seconds on this machine.

    Attributes:
        start: of a stage that does nothing.
        decode: of a file on one core.
        pace: of training and answering.
    """

    start: float
    decode: float
    pace: Pace


def stages(params: Params, counts: Counts, speed: Speed) -> dict[str, float]:
    """Seconds of each stage, in the order in which they run, and of DVC itself."""
    start, pace = speed.start, speed.pace
    cores = machine.load().threads or machine.cores()
    seconds = {"prepare": start + counts.files * speed.decode / cores}
    asked = counts.val + counts.unlabelled
    for name in models(params):
        if params.parent(name):
            each = len(params.labels_of(name).transforms) * pace.label
            seconds[f"pseudo_label@{name}"] = start + asked * each
        seconds[params.lineage()[name].stage] = start + training(params, name, counts, pace)
    tested = counts.test if params.report.test else 0
    measured = (counts.val + tested) * len(models(params)) * pace.measure
    seconds["report"] = REPORT_STARTS * start + measured
    return seconds | {"DVC": DVC_STARTS * start}


def training(params: Params, name: str, counts: Counts, pace: Pace) -> float:
    """Seconds of the steps of a model and of its evaluations."""
    recipe = params.config(name).training
    evaluations = recipe.steps // recipe.evaluate_every + 1
    return recipe.steps * pace.step[name] + evaluations * counts.val * pace.label
