"""report: every model measured -> numbers, curves, the page, the gate, the run in MLflow."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline import tracking
from pipeline.core import files
from pipeline.params.check import load
from pipeline.params.schema import Params
from pipeline.report import gate, measure, page, tables
from pipeline.report.experiment import Experiment
from pipeline.report.facts import facts
from pipeline.report.label_quality import label_quality
from pipeline.report.metrics import metrics, outputs
from pipeline.report.results import Results
from pipeline.running.entry import enter, no_argument

OUT = Path("report")


def experiment(params: Params) -> Experiment:
    """What the report needs of params."""
    return Experiment(
        lineage=params.lineage(),
        source=params.data.source,
        seed=params.seed,
        data_seed=params.data.seed,
        test=params.report.test,
        register=params.report.registers,
        keeps=params.report.keeps,
        params=params.model_dump(by_alias=True, exclude_unset=True),
        shared={key: getattr(params, key).model_dump() for key in ("data", "training", "labels")},
    )


def results(of: Experiment) -> Results:
    """Measure and decide."""
    lineage = of.lineage
    data = [facts(name) for name in ("base", *lineage.of("tasks"))]
    measured = measure.models(lineage, of.test and all(d.images("test") for d in data))
    quality = {name: label_quality(name) for name in lineage.of("generations")}
    chain = lineage.chain(lineage.final)
    smaller = dict.fromkeys(lineage.of("distilled"), of.keeps)
    verdict = gate.decide(chain, gate.compare(chain, measured, smaller))
    return Results(of, measured, quality, metrics(measured, quality), verdict, data)


def main(argv: Sequence[str] = ()) -> None:
    """Measure, decide, write; then record it with the tracker."""
    no_argument("report", argv)
    made = results(experiment(load()))
    measured, verdict = made.measured, made.verdict
    shutil.rmtree(OUT / "html", ignore_errors=True)
    tables.write(OUT / "data", measured, made.quality, verdict.ships)
    html = OUT / "html" / "index.html"
    sections = page.compute(made)
    page.write(html, made, sections)
    files.write_json(OUT / "data" / "verdict.json", vars(verdict))
    files.write_json(OUT / "metrics.json", made.metrics)
    hashes = outputs(made.lineage, measured)
    champion = tracking.record_pipeline(made.experiment, made.metrics, hashes, verdict, OUT)
    page.write(html, replace(made, champion=champion), sections)
    print(f"report: {verdict.why}")
    print(f"report: {champion}")


if __name__ == "__main__":
    enter(main)
