"""Is the model as right as it is sure? Reliability before and after scaling."""

from matplotlib.lines import Line2D

from pipeline.report.calibration import NUM_BINS, Bins, calibrate
from pipeline.report.figures import INK, canvas, style, svg
from pipeline.report.measure import Measured
from pipeline.report.results import Results


def section(results: Results) -> dict:
    """What ships and the last generation."""
    chosen = dict.fromkeys([results.ships, results.experiment.last_generation])
    models = [_model(name, results.measured[name]) for name in chosen]
    unit = results.measured[results.ships].shown.unit
    return {"num_bins": NUM_BINS, "unit": unit, "models": models}


def _model(name: str, model: Measured) -> dict:
    fitted = calibrate(model)
    figure, axes = canvas(4.4, 4.1)
    reliability(axes, fitted.before, fitted.after)
    drawing = svg(figure, f"reliability-{name}", f"Accuracy against confidence of {name}")
    return {"name": name, "drawing": drawing, "fitted": fitted}


def reliability(axes, before: Bins, after: Bins | None) -> None:
    """Accuracy against confidence, a point a bin, its area by the images in it."""
    axes.plot([0, 100], [0, 100], color=INK, linewidth=0.8, alpha=0.5)
    handles = [_points(axes, before, "as trained", "o", style(1)["color"])]
    if after is not None:
        handles.append(_points(axes, after, "temperature-scaled", "s", style(0)["color"]))
    axes.set(xlabel="confidence, %", ylabel="right, %", xlim=(0, 103), ylim=(-3, 103))
    axes.set_aspect("equal")
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)


def _points(axes, bins: Bins, label: str, marker: str, colour: str) -> Line2D:
    """Draw bins; what stands for them in the legend."""
    filled = bins.count > 0
    size = 6 + 200 * bins.count[filled] / bins.count.sum()
    at, share = 100 * bins.confidence[filled], 100 * bins.accuracy[filled]
    # the line is faint: it joins bins of few images, whose share right says little
    axes.plot(at, share, linewidth=1, alpha=0.35, color=colour)
    axes.scatter(at, share, size, color=colour, marker=marker, linewidth=0)
    return Line2D([], [], color=colour, marker=marker, linestyle="", label=label)
