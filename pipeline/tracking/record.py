"""What is recorded of stages, models and whole pipelines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.tracking import journal, sending
from pipeline.tracking.journal import Journal
from pipeline.tracking.tracker import PIPELINES, STAGES, NullTracker, is_on, try_again

if TYPE_CHECKING:
    from pipeline.report.experiment import Experiment
    from pipeline.report.gate import Verdict

# keys of a card that are params of its stage's run; `model` or `task` holds the options of methods
RECIPE = ("seed", "network", "training", "model", "task", "parents", "data")


def stage_run(stage: str, output: str = "") -> NullTracker:
    """Begin the run of an executed stage: a journal, which reaches MLflow later.

    Args:
        stage: e.g. `student@g1`.
        output: the hash of what it made, if that is known already (see `record_model`).
    """
    tags = {"dvc.stage": stage} | ({"output.sha256": output} if output else {})
    try:
        return Journal(STAGES, stage, tags) if is_on() else NullTracker()
    except OSError as error:
        journal.warn(error)
        return NullTracker()


def send(now: bool = False) -> dict[str, str]:
    """Bring to MLflow what stages have left in their journals; returns what became of models that
    were to be registered, by the journal's name.

    Args:
        now: also where MLflow failed a moment ago.
    """
    if now:
        try_again()
    return sending.ended(journal.folder())


def unsent() -> int:
    """Runs that have ended and that MLflow does not have yet."""
    return sending.num_ended(journal.folder())


def record_data(
    tracker: NullTracker, options: Mapping[str, Any], card: Mapping[str, Any], folder: Path
) -> None:
    """What `prepare` made."""
    tracker.params(options)
    counts = {split: sum(classes.values()) for split, classes in card["counts"].items()}
    counts["unlabelled"] += card["without_label"]
    tracker.metrics({f"images/{split}": count for split, count in counts.items()})
    tracker.tags({"output.sha256": card["seal"]})
    for name in ("dataset.json", "findings.json", "report.html"):
        tracker.artifact(folder / name)


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
    experiment: Experiment,
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
    name = f"{experiment.lineage.final} of {experiment.source}"
    tags = {"final": experiment.lineage.final, "ships": verdict.ships, "ships.why": verdict.why}
    with _pipeline_run(os.environ.get("DVC_EXP_NAME") or name, tags) as run:
        run.params(experiment.params | experiment.shared)
        run.metrics(metrics)
        _record_generations(run, experiment, metrics)
        run.link(outputs, verdict.why, _rows(experiment, metrics))
        _record_folder(run, report)
        if experiment.register and isinstance(run, Journal):
            from pipeline.networks import checkpoint  # imports torch, which others do without

            sha256 = checkpoint.read_card(f"models/{verdict.ships}")["sha256"]
            score = score_of(verdict.ships, metrics)
            run.register(experiment.source, verdict.ships, score, sha256)
    said = send()
    if not experiment.register:
        return "the registry is left alone (report.register is false)"
    if not isinstance(run, Journal):
        return f"{verdict.ships} is not in a registry: there is no tracker"
    missed = f"{verdict.ships} is not in a registry yet: run `python -m pipeline sync`"
    return said.get(run.folder.name, missed)


def _pipeline_run(name: str, tags: Mapping[str, str]) -> NullTracker:
    """A journal that is sent after those of the stages, which it has links to."""
    try:
        return Journal(PIPELINES, name, tags, waits=True) if is_on() else NullTracker()
    except OSError as error:
        journal.warn(error)
        return NullTracker()


def score_of(name: str, metrics: Mapping[str, float]) -> float:
    """What models are compared by on val, 0..1: the mean IoU of those that answer pixels, else the
    accuracy."""
    return metrics.get(f"val_miou/{name}", metrics[f"val_acc/{name}"])


def _record_generations(
    tracker: NullTracker, experiment: Experiment, metrics: Mapping[str, float]
) -> None:
    """Accuracy over the generations of the chain to the candidate, a step each."""
    lineage = experiment.lineage
    for step, name in enumerate(lineage.generations(lineage.final)):
        keys = {"generation/val_acc": f"val_acc/{name}", "generation/acc": f"acc/{name}"}
        tracker.metrics({key: metrics[k] for key, k in keys.items() if k in metrics}, step)


def _record_folder(tracker: NullTracker, report: Path) -> None:
    for file in sorted(path for path in report.rglob("*") if path.is_file()):
        folder = str(file.parent.relative_to(report))
        tracker.artifact(file, None if folder == "." else folder)


def _rows(experiment: Experiment, metrics: Mapping[str, float]) -> list[tuple[str, str, str, str]]:
    return [
        (name, entry.taught_by, f"{score_of(name, metrics):.4f}", entry.stage)
        for name, entry in experiment.lineage.entries.items()
    ]
