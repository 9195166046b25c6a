"""Accuracy of an arm of several models against what it has cost: images, and CPU-minutes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.continual import Row
from pipeline.report.figures import INK, canvas, png, style

Values = NDArray[np.float64]
LAST = 12  # points of accuracy, from the best one down, that are drawn


class Curve(NamedTuple):
    """Of an arm at a seed, one model after another.

    Attributes:
        images: that went through a network until then.
        minutes: of one core until then.
        accuracy: on val, 0..1, of what is in hand: the first model as it trains, then the last one
            that has been trained to its end.
    """

    images: Values
    minutes: Values
    accuracy: Values

    def at(self, costs: Values, cost: float) -> float:
        """The last accuracy before `costs` (of this curve) are more than that; 0 before the
        first."""
        num = int(np.searchsorted(costs, cost * (1 + 1e-9), side="right"))
        return float(self.accuracy[num - 1]) if num else 0.0


def along(row: Row, models: Sequence[str]) -> Curve:
    """The models of an arm, oldest first, of a row with `curve/`, `images_seen/` and
    `cpu_seconds/` of each; costs rise evenly over the steps of a model."""
    images, minutes, accuracy = [], [], []
    before, finished = np.zeros(2), None
    for name in models:
        curve = json.loads(row[f"curve/{name}"])
        costs = np.array(
            [float(row[f"images_seen/{name}"]), float(row[f"cpu_seconds/{name}"]) / 60]
        )
        parts = np.array(curve["step"]) / curve["step"][-1]
        images.append(before[0] + parts * costs[0])
        minutes.append(before[1] + parts * costs[1])
        *on_the_way, last = curve["val_acc"]
        accuracy.append([*(on_the_way if finished is None else [finished] * len(on_the_way)), last])
        before, finished = before + costs, last
    return Curve(*(np.concatenate(values) for values in (images, minutes, accuracy)))


def draw_curves(path: Path, curves: Mapping[str, Sequence[Curve]]) -> None:
    """Every arm against images and against CPU-minutes, means over seeds; best arm first."""
    order = sorted(curves, key=lambda arm: -np.mean([c.accuracy[-1] for c in curves[arm]]))
    figure, axes = canvas(10, 4.4, 2)
    for number, arm in enumerate(order):
        of = curves[arm]
        accuracy = 100 * np.mean([curve.accuracy for curve in of], axis=0)
        for axis, unit, costs in zip(
            axes[0],
            (1000, 1),
            ([c.images for c in of], [c.minutes for c in of]),
            strict=True,
        ):
            axis.plot(np.mean(costs, axis=0) / unit, accuracy, label=arm, **style(number))
    best = max(100 * np.mean([c.accuracy[-1] for c in of]) for of in curves.values())
    axes[0, 0].set(xlabel="thousand images", ylabel="val accuracy, %")
    axes[0, 1].set(xlabel="CPU-minutes")
    for axis in axes[0]:
        axis.set_ylim(best - LAST, best + 1)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center")
    figure.supxlabel(
        f"Means of {len(next(iter(curves.values())))} seeds, best arm first.", fontsize=8, color=INK
    )
    png(path, figure)
