"""report: every model measured -> numbers, curves, pictures, and the pipeline's run in MLflow."""

import shutil
from pathlib import Path

from pipeline import files, tracking
from pipeline.errors import run
from pipeline.params import load
from pipeline.report import measure, plots, tables

OUT = Path("report")


def main() -> None:
    """Measure, write, then tell the tracker."""
    params = load()
    measured = measure.models(params)
    quality = {name: measure.label_quality(name) for name in params.generations}
    metrics = measure.metrics(measured, quality)
    shutil.rmtree(OUT / "html", ignore_errors=True)
    tables.write(OUT / "data", measured, quality)
    plots.write(OUT / "html", measured, quality)
    files.write_json(OUT / "metrics.json", metrics)
    cards = {name: model.card for name, model in measured.items()}
    tracking.record_pipeline(params, cards, metrics, OUT)
    print("report: `python -m pipeline show` for the table, report/html for the pictures")


if __name__ == "__main__":
    run(main)
