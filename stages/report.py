"""report: every model measured -> numbers, curves, pictures, the gate, the run in MLflow."""

import shutil
from pathlib import Path

from pipeline import tracking
from pipeline.core import files
from pipeline.params import load
from pipeline.report import gate, measure, page, plots, tables
from pipeline.running.entry import no_argument, run

OUT = Path("report")


def main() -> None:
    """Measure, decide, write; then tell the tracker."""
    params = load()
    measured = measure.models(params)
    quality = {name: measure.label_quality(name) for name in params.generations}
    metrics = measure.metrics(measured, quality)
    chain = params.chain(params.final)
    seen = {name: measured[name].seen["val"] for name in chain}
    verdict = gate.decide(chain, gate.compare(chain, seen))
    shutil.rmtree(OUT / "html", ignore_errors=True)
    tables.write(OUT / "data", measured, quality, verdict.ships)
    plots.write(OUT / "html", measured, quality)
    html = OUT / "html" / "index.html"
    page.write(html, params, measured, quality, metrics, verdict, None)
    files.write_json(OUT / "data" / "verdict.json", vars(verdict))
    files.write_json(OUT / "metrics.json", metrics)
    outputs = measure.outputs(params, measured)
    champion = tracking.record_pipeline(params, metrics, outputs, verdict, OUT)
    page.write(html, params, measured, quality, metrics, verdict, champion)
    print(f"report: {verdict.why}")
    print(f"report: {champion}")


def alone() -> None:
    """`main`, with no word on the command line."""
    no_argument("report")
    main()


if __name__ == "__main__":
    run(alone)
