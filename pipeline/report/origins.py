"""How it came about: learning curves, and what is needed to make the same models again."""

from __future__ import annotations

import io
import platform
from importlib import metadata
from pathlib import Path

from typing import Any as Params
from pipeline.report import plots
from pipeline.report.figures import canvas, svg
from pipeline.report.markup import Html, fold, section, table, tag
from pipeline.report.measure import Measured
from pipeline.running import times

PACKAGES = ["torch", "torchvision", "kornia", "dvc", "mlflow", "numpy", "scikit-learn"]


def curves(measured: dict[str, Measured]) -> Html:
    """Loss and val accuracy while training."""
    found = {name: plots.curve(name) for name in measured}
    loss, axes = canvas(4.6, 3.3)
    plots.loss(axes, found)
    val, axes = canvas(4.6, 3.3)
    plots.val_accuracy(axes, found)
    return section(
        "curves",
        "Learning curves",
        tag(
            "div",
            svg(val, "curves-val", "Val accuracy over the steps of every model"),
            svg(loss, "curves-loss", "Training loss over the steps of every model"),
            cls="panels",
        ),
        tag(
            "p",
            "Val accuracy is over the classes a model knows; the loss of a student counts its "
            "pseudo-labels, that of a task or a yardstick what its methods add.",
            cls="soft",
        ),
    )


def origins(params: Params, measured: dict[str, Measured]) -> Html:
    """Seeds, versions, files, params."""
    return section(
        "origins",
        "To make it again",
        tag(
            "p",
            f"Seed {params.seed} for training, {params.data.seed} for the split of the images. "
            "The same params on the same machine make the same files, bit for bit.",
        ),
        table(["software", "version that made this page"], versions(), left=2),
        table(["model", "file", "bytes", "SHA-256"], _files(measured), left=2),
        took(params),
        fold("params.yaml", tag("pre", as_yaml(params))),
    )


def took(params: Params) -> Html:
    """Wall seconds of the stages of these params, as they last ran on this machine."""
    known = times.read()
    stages = ["prepare", *(f"prepare_task@{name}" for name in params.tasks)]
    for name in params.models():
        labelled = [f"pseudo_label@{name}"] if name in params.generations else []
        stages += [*labelled, params.stage_of(name)]
    rows = [(stage, f"{known[stage]:.0f}") for stage in stages if stage in known]
    if not rows:
        return Html("")
    return table(["stage", "seconds, when it last ran here"], rows)


def versions() -> list[tuple[str, str]]:
    """Python and the packages that decide results."""
    found = [("python", platform.python_version())]
    for package in PACKAGES:
        try:
            found.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            found.append((package, "not installed"))
    return found


def _files(measured: dict[str, Measured]) -> list[list]:
    rows = []
    for name, model in measured.items():
        path = Path("models") / name / "model.safetensors"
        size = f"{path.stat().st_size:,}" if path.is_file() else "–"
        rows.append([tag("strong", name), str(path), size, tag("code", model.card["sha256"])])
    return rows


def as_yaml(params: Params) -> str:
    """Params as their file has them, without its comments."""
    from ruamel.yaml import YAML

    text = io.StringIO()
    yaml = YAML()
    yaml.width = 100
    yaml.dump(params.model_dump(exclude_unset=True, by_alias=True), text)
    return text.getvalue()
