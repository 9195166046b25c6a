"""How right every model is, and how good the labels were that each generation learnt from."""

from pipeline.report import plots
from pipeline.report.facts import Facts
from pipeline.report.figures import Drawing, canvas, svg
from pipeline.report.label_quality import LabelQuality
from pipeline.report.results import Results

MORE = 10  # times as many unlabelled images, to speak of
SHOWN = 5  # class histograms, before the others are folded


def accuracy(results: Results) -> dict:
    """Accuracy of all models, drawn and as a table."""
    measured = results.measured
    figure, axes = canvas(5.6, plots.accuracy_height(measured))
    plots.accuracy(axes, measured)
    return {
        "drawing": svg(figure, "accuracy", "Accuracy of every model with intervals"),
        "measure": next(iter(measured.values())).shown.measure,
        "test": _test(results),
        "other_classes": len({len(model.classes) for model in measured.values()}) > 1,
        "rows": [_row(results, name) for name in measured],
    }


def _test(results: Results) -> str:
    """What became of the test images."""
    if results.split == "test":
        return "Selection used val; test was read once, here."
    there = all(data.images("test") for data in results.data)
    return "Test was not read." if there else "There are no test images."


def _row(results: Results, name: str) -> dict:
    model = results.measured[name]
    return {
        "name": name,
        "taught_by": results.lineage[name].taught_by,
        "answers": model.answers,
        "loss": results.metrics[f"val_loss/{name}"],
        "num_classes": len(model.classes),
        "num_parameters": model.card["num_parameters"],
        "images_seen": model.card["images_seen"],
        "network": model.card["network"]["name"],
    }


def pseudo_labels(results: Results) -> dict | None:
    """How many labels each teacher gave, how many are right, of which classes."""
    quality = results.quality
    if not quality:
        return None
    figure, axes = canvas(4.6, 3.1)
    plots.kept_and_right(axes, quality)
    first = svg(figure, "labels", "Share of images kept and share right, by generation")
    drawn = {n: _histogram(n, q, results.measured[n].classes) for n, q in quality.items()}
    shown = _shown(list(quality), results.experiment.last_generation)
    return {
        "drawings": [first, *(drawn[name] for name in shown)],
        "others": [drawing for name, drawing in drawn.items() if name not in shown],
        "unit": next(iter(quality.values())).unit,
        "truth": any(labels.num_known for labels in quality.values()),
        "filtered": any(labels.foreign_share is not None for labels in quality.values()),
        "rows": [(name, results.lineage[name].parent, q) for name, q in quality.items()],
        "crowd": crowd(results.data[0]),
    }


def crowd(data: Facts) -> int | None:
    """Unlabelled images for each labelled one, where those are very many more."""
    labelled, unlabelled = data.images("labelled"), data.images("unlabelled")
    return unlabelled // labelled if unlabelled > MORE * labelled else None


def _shown(names: list[str], last: str) -> list[str]:
    """The first generations and the last one of the chain."""
    if len(names) <= SHOWN:
        return names
    return list(dict.fromkeys([*names[: SHOWN - 1], last if last in names else names[-1]]))


def _histogram(name: str, quality: LabelQuality, classes: list[str]) -> Drawing:
    figure, axes = canvas(4.6, 3.1)
    plots.class_histogram(axes, quality, classes)
    axes.set_title(name, loc="right", fontweight="bold")
    return svg(figure, f"classes-{name}", f"Classes of the pseudo-labels of {name}")
