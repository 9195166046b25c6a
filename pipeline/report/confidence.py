"""The page's part on calibration: is the model as right as it is sure?"""

from __future__ import annotations

from matplotlib.lines import Line2D

from typing import Any as Params
from pipeline.report.calibration import NUM_BINS, Bins, Calibration, calibrate
from pipeline.report.figures import INK, canvas, style, svg
from pipeline.report.gate import Verdict
from pipeline.report.headline import last_generation
from pipeline.report.markup import Html, percent, section, table, tag
from pipeline.report.measure import Measured


def confidence(params: Params, measured: dict[str, Measured], verdict: Verdict) -> Html:
    """Reliability of what ships and of the last generation, before and after scaling."""
    chosen = dict.fromkeys([verdict.ships, last_generation(params)])
    found = {name: calibrate(measured[name]) for name in chosen}
    return section(
        "calibration",
        "Confidence",
        tag(
            "p",
            "Of the images that a well-calibrated model is 80\u202f% sure of, 80\u202f% are right: "
            "its points lie on the diagonal; below it the model is too sure. A point's area is "
            "its share of the images. ",
            "Temperature scaling divides the logits by one number T, which changes how sure the "
            "model is and no answer.",
        ),
        tag("div", (_one(name, look) for name, look in found.items()), cls="panels"),
        tag(
            "p",
            f"ECE, the expected calibration error: images are sorted into {NUM_BINS} bins of equal "
            "width by confidence (the largest probability); it is the mean of |share right − mean "
            "confidence| over the bins, weighted by their images. NLL: mean negative "
            "log-likelihood of the true class, in nats. Lower is better for both.",
            cls="soft",
        ),
    )


def _one(name: str, found: Calibration) -> Html:
    figure, axes = canvas(4.4, 4.1)
    reliability(axes, found.before, found.after)
    rows = [["as trained", "1", percent(found.before.error), f"{found.nll[0]:.3f}"]]
    if found.after is not None:
        shown = " / ".join(f"{t:.2f}" for t in found.temperatures)
        rows.append(["scaled", shown, percent(found.after.error), f"{found.nll[1]:.3f}"])
    return tag(
        "div",
        tag("h3", name),
        svg(figure, f"reliability-{name}", f"Accuracy against confidence of {name}"),
        table(["", "T", "ECE", "NLL"], rows),
        tag("p", found.how, cls="note"),
    )


def reliability(axes, before: Bins, after: Bins | None) -> None:
    """Accuracy against confidence, a point a bin, its area by the images in it."""
    axes.plot([0, 100], [0, 100], color=INK, linewidth=0.8, alpha=0.5)
    known = []
    for label, bins, marker, number in (
        ("as trained", before, "o", 1),
        ("temperature-scaled", after, "s", 0),
    ):
        if bins is None:
            continue
        filled = bins.count > 0
        size = 6 + 200 * bins.count[filled] / bins.count.sum()
        at, share = 100 * bins.confidence[filled], 100 * bins.accuracy[filled]
        colour = style(number)["color"]
        # the line is faint: it joins bins of few images, whose share right says little
        axes.plot(at, share, linewidth=1, alpha=0.35, color=colour)
        axes.scatter(at, share, size, color=colour, marker=marker, linewidth=0)
        known.append(Line2D([], [], color=colour, marker=marker, linestyle="", label=label))
    axes.set(xlabel="confidence, %", ylabel="right, %", xlim=(0, 103), ylim=(-3, 103))
    axes.set_aspect("equal")
    axes.legend(handles=known, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
