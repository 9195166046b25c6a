"""How it came about: learning curves, and what is needed to make the same models again."""

import io
import platform
from importlib import metadata
from pathlib import Path

from ruamel.yaml import YAML

from pipeline.core.lineage import Lineage
from pipeline.report import plots
from pipeline.report.figures import canvas, svg
from pipeline.report.results import Results
from pipeline.running import times

PACKAGES = ["torch", "torchvision", "kornia", "dvc", "mlflow", "numpy", "scikit-learn"]


def curves(results: Results) -> dict:
    """Loss and val accuracy while training."""
    drawn = {name: plots.curve(model.card) for name, model in results.measured.items()}
    loss, axes = canvas(4.6, 3.3)
    plots.loss(axes, drawn)
    val, axes = canvas(4.6, 3.3)
    plots.val_accuracy(axes, drawn)
    return {
        "val": svg(val, "curves-val", "Val accuracy over the steps of every model"),
        "loss": svg(loss, "curves-loss", "Training loss over the steps of every model"),
    }


def origins(results: Results) -> dict:
    """Seeds, versions, files, params."""
    experiment = results.experiment
    return {
        "seed": experiment.seed,
        "data_seed": experiment.data_seed,
        "versions": versions(),
        "files": [_file(name, model.card["sha256"]) for name, model in results.measured.items()],
        "seconds": seconds(experiment.lineage),
        "params": as_yaml(experiment.params),
    }


def seconds(lineage: Lineage) -> list[tuple[str, float]]:
    """Wall seconds of the stages of a lineage, as they last ran on this machine."""
    known = times.read()
    stages = ["prepare", *(f"prepare_task@{name}" for name in lineage.of("tasks"))]
    for name, entry in lineage.entries.items():
        labelled = [f"pseudo_label@{name}"] if entry.block == "generations" else []
        stages += [*labelled, entry.stage]
    return [(stage, known[stage]) for stage in dict.fromkeys(stages) if stage in known]


def versions() -> list[tuple[str, str]]:
    """Python and the packages that decide results."""
    installed = [("python", platform.python_version())]
    for package in PACKAGES:
        try:
            installed.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            installed.append((package, "not installed"))
    return installed


def _file(name: str, sha256: str) -> dict:
    path = Path("models") / name / "model.safetensors"
    size = path.stat().st_size if path.is_file() else None
    return {"name": name, "path": str(path), "size": size, "sha256": sha256}


def as_yaml(params: dict) -> str:
    """Params as their file has them, without its comments."""
    text = io.StringIO()
    yaml = YAML()
    yaml.width = 100
    yaml.dump(params, text)
    return text.getvalue()
