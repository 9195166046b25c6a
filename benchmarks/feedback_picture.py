"""Draw the study of feedback from its rows: `python -m benchmarks.feedback_picture`."""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path

import numpy as np
from matplotlib.ticker import NullFormatter

from benchmarks.feedback import BF16_LOSSES, BF16_PASS, ESTIMATORS, OTHER_BATCH
from pipeline.report.figures import BLUE, OCHRE, ORANGE, ROSE, TEAL, VIOLET, canvas, png

RESULTS = Path("benchmarks/results")
RATES = (0.01, 0.03, 0.1, 0.3, 1.0)  # of plain SGD; the run has one of its own
DIFFERENCE, PRODUCT = ESTIMATORS
CAPTION = (
    "Lines: means of 3 seeds, bands: from the least to the greatest. Above: solid or dotted with "
    "Nesterov momentum 0.9, dashed plain SGD, crosses: the student's pass in bf16."
)
COLOURS = {
    DIFFERENCE: BLUE,
    PRODUCT: ORANGE,
    DIFFERENCE + BF16_PASS: TEAL,
    PRODUCT + BF16_PASS: OCHRE,
    BF16_LOSSES: ROSE,
    OTHER_BATCH: VIOLET,
}


def rows(name: str) -> list[dict]:
    """Of a CSV of the study, numbers as numbers."""
    with open(RESULTS / name, encoding="utf-8", newline="") as file:
        return [
            {k: v if k == "condition" else float(v or "nan") for k, v in row.items()}
            for row in csv.DictReader(file)
        ]


def line(axis, table: list[dict], x: str, y: str, colour: str, band: bool = True, **style) -> None:
    """The mean over seeds of column `y` along `x`; a band from the least seed to the greatest."""
    places = sorted({row[x] for row in table})
    values = [[row[y] for row in table if row[x] == place] for place in places]
    axis.plot(places, [np.mean(v) for v in values], color=colour, **style)
    if band:
        least, greatest = [min(v) for v in values], [max(v) for v in values]
        axis.fill_between(places, least, greatest, color=colour, alpha=0.15, linewidth=0)


def along_the_run(axis, table: list[dict], column: str) -> None:
    """Every condition: solid under momentum, dashed by plain SGD, crosses for passes in bf16."""
    for name, colour in COLOURS.items():
        mine = [row for row in table if row["condition"] == name]
        pushed = [row for row in mine if row["momentum"]]
        if BF16_PASS in name:
            line(axis, pushed, "step", column, colour, False, linestyle="", marker="x", label=name)
            continue
        dashes = ":" if name == OTHER_BATCH else "-"  # what lies under it shows through
        line(axis, pushed, "step", column, colour, label=name, linestyle=dashes)
        plain = [row for row in mine if not row["momentum"]]
        line(axis, plain, "step", column, colour, False, linestyle="--", linewidth=1)


def by_rate(axis, table: list[dict]) -> None:
    """How well h follows what labels did by plain SGD, at the frozen steps."""
    steps = sorted({row["step"] for row in table})
    for number, step in enumerate(steps):
        mine = [row for row in table if row["step"] == step]
        exact, first = ([r for r in mine if r["condition"] == name] for name in ESTIMATORS)
        alpha = 0.3 + 0.7 * number / (len(steps) - 1)
        style = {"alpha": alpha, "marker": ".", "label": f"{PRODUCT}, step {step:.0f}"}
        line(axis, first, "rate", "correlation", ORANGE, False, **style)
    line(axis, exact, "rate", "correlation", BLUE, False, label=f"{DIFFERENCE}, all steps")


def noise(axis, table: list[dict]) -> None:
    """The variance of both estimators under momentum, by baseline."""
    baselines = {"variance_moving": ":", "variance": "-", "variance_batch": "--"}
    labels = ["less the moving average (0.99)", "less the mean", "less the mean of its batch"]
    for name in ESTIMATORS:
        mine = [row for row in table if row["condition"] == name and row["momentum"]]
        for (column, dashes), label in zip(baselines.items(), labels):
            label = label if name == DIFFERENCE else None
            line(axis, mine, "step", column, COLOURS[name], False, linestyle=dashes, label=label)


def by_decay(axis, table: list[dict], ideal: list[dict]) -> None:
    """The variance with a moving average over that with the mean: geometric means."""
    least = {(r["seed"], r["step"], r["condition"]): r["variance"] for r in ideal if r["momentum"]}
    decays = sorted({row["decay"] for row in table})
    for name, (warmed, dashes) in product(ESTIMATORS, enumerate("-:")):
        logs: dict[float, list[float]] = {decay: [] for decay in decays}
        for row in table:
            if (row["condition"], row["warmed"]) == (name, warmed):
                ratio = row["variance"] / least[row["seed"], row["step"], name]
                logs[row["decay"]].append(np.log(ratio))
        ratios = [np.exp(np.mean(logs[decay])) for decay in decays]
        label = f"{name}, {'warmed' if warmed else 'plain'}"
        axis.plot(ratios, color=COLOURS[name], linestyle=dashes, marker=".", label=label)
    axis.set_xticks(range(len(decays)), [f"{decay:g}" for decay in decays])


def draw(table: list[dict], averages: list[dict]):
    """The figure."""
    fixed = [row for row in table if np.isclose(row["rate"], RATES).any()]
    own = [row for row in table if not np.isclose(row["rate"], RATES).any()]
    figure, axes = canvas(13.0, 7.6, columns=3, rows=2)
    (within, sign, cosine), (rate, variance, decay) = axes
    along_the_run(within, own, "correlation")
    within.set(title="correlation of h with what labels did (in a batch)", xlabel="step")
    along_the_run(sign, own, "sign")
    sign.set(title="share of h - mean(h) with the sign of what labels did", xlabel="step")
    along_the_run(cosine, own, "cosine")
    cosine.set(title="bias: cosine of the teacher's mean gradient", xlabel="step")
    cosine.set_ylim(0.85, 1.01)
    by_rate(rate, fixed)
    rate.set(title="the same correlation by rate, plain SGD", xlabel="rate", xscale="log")
    noise(variance, own)
    variance.set(title="variance / squared norm of the true mean", xlabel="step", yscale="log")
    by_decay(decay, averages, own)
    decay.set(title="variance with a moving average / with the mean", xlabel="decay", yscale="log")
    for axis in (rate.xaxis, variance.yaxis, decay.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    variance.set_yticks([30, 50, 100, 200, 500, 1000])
    decay.set_yticks([1, 2, 3, 5])
    for axis in (within, rate, variance, decay):
        axis.legend()
    figure.supxlabel(CAPTION, fontsize=9.5)
    return figure


def main() -> None:
    """Draw `docs/feedback.png`."""
    png(Path("docs/feedback.png"), draw(rows("feedback.csv"), rows("feedback_baseline.csv")))


if __name__ == "__main__":
    main()
