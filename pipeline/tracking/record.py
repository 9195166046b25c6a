"""What is told about stages, models and whole pipelines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from typing import Any as Params
from pipeline.report.gate import Verdict
from pipeline.tracking import registry
from pipeline.tracking.tracker import PIPELINES, STAGES, NullTracker, start

# keys of a card that are params of its stage's run; `model` or `task` holds the options of methods
RECIPE = ("seed", "network", "training", "model", "task", "parents", "data")


def stage_run(stage: str, output: str = "") -> NullTracker:
    """Begin the run of an executed stage.

    Args:
        stage: e.g. `student@g1`.
        output: the hash of what it made, if that is known already (see `record_model`).
    """
    tags = {"dvc.stage": stage} | ({"output.sha256": output} if output else {})
    return start(STAGES, stage, tags)


def record_data(
    tracker: NullTracker, options: Mapping[str, Any], card: Mapping[str, Any], folder: Path
) -> None:
    """What `prepare` made."""
    tracker.params(options)
    counts = {split: sum(classes.values()) for split, classes in card["counts"].items()}
    tracker.metrics({f"images/{split}": count for split, count in counts.items()})
    tracker.tags({"output.sha256": card["seal"]})
    tracker.artifact(folder / "dataset.json")


def record_model(tracker: NullTracker, card: Mapping[str, Any]) -> None:
    """What a finished model's card says, and its files, into the run of its stage."""
    folder = Path("models") / card["name"]
    tracker.params({key: card[key] for key in RECIPE if key in card})
    tracker.metrics({f"final/{key}": value for key, value in card["metrics"].items()})
    tags = {"output.sha256": card["sha256"], "model.sha256": card["sha256"]}
    tracker.tags(tags | {f"parent.{name}": sha for name, sha in card["parents"].items()})
    for name in ("model.safetensors", "card.json", "curves.csv"):
        tracker.artifact(folder / name)


def record_pipeline(
    params: Params,
    metrics: Mapping[str, float],
    outputs: Mapping[str, str],
    verdict: Verdict,
    report: Path,
) -> str:
    """The run of a whole pipeline: params, numbers of every model, links to the runs of the stages
    that made its parts (executed now or earlier), the report, and, where params ask for it, the
    model that ships in the registry.

    Args:
        metrics: the flat numbers of `report/metrics.json`.
        outputs: the hash of what each stage made, by stage.
        verdict: of the gate.
        report: the folder to keep.

    Returns:
        one sentence on what became of the registry's champion.
    """
    name = os.environ.get("DVC_EXP_NAME") or f"{params.final} of {params.data.source}"
    tags = {"final": params.final, "ships": verdict.ships, "ships.why": verdict.why}
    with start(PIPELINES, name, tags) as tracker:
        shared = {key: getattr(params, key).model_dump() for key in ("data", "training", "labels")}
        tracker.params(params.model_dump(by_alias=True, exclude_unset=True) | shared)
        tracker.metrics(metrics)
        chain = [model for model in params.chain(params.final) if model not in params.tasks]
        for step, model in enumerate(chain):
            found = {"generation/val_acc": f"val_acc/{model}", "generation/acc": f"acc/{model}"}
            known = {key: metrics[name] for key, name in found.items() if name in metrics}
            tracker.metrics(known, step)
        links = tracker.stage_links(outputs)
        tracker.tags({"run." + stage.replace("@", "/"): run for stage, (run, _) in links.items()})
        tracker.tags({"mlflow.note.content": _note(params, metrics, verdict, links)})
        for file in sorted(path for path in report.rglob("*") if path.is_file()):
            folder = str(file.parent.relative_to(report))
            tracker.artifact(file, None if folder == "." else folder)
        if not params.report.registers:
            return "the registry is left alone (report.register is false)"
        return registry.register(tracker, params, verdict.ships, metrics)


def _note(
    params: Params,
    metrics: Mapping[str, float],
    verdict: Verdict,
    links: Mapping[str, tuple[str, str]],
) -> str:
    """The run's description: the lineage as a Markdown table with links to the stage runs."""
    lines = [verdict.why, "", "| model | taught by | val accuracy | run |", "|---|---|---|---|"]
    for model in params.models():
        stage = params.stage_of(model)
        run = f"[{stage}]({links[stage][1]})" if stage in links else "not tracked"
        lines.append(
            f"| {model} | {params.taught_by(model)} | {metrics[f'val_acc/{model}']:.4f} | {run} |"
        )
    others = [
        f"[{stage}]({link})"
        for stage, (_, link) in links.items()
        if "label" in stage or "prep" in stage
    ]
    return "\n".join([*lines, "", f"Data and labels: {', '.join(others) or 'not tracked'}"])
