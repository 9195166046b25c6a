"""The stages of the tiny chain by name, what each writes, and who taught whom."""

from __future__ import annotations

import json
from pathlib import Path

from stages import (
    baseline,
    extend,
    meta_pseudo_labels,
    prepare,
    prepare_task,
    pseudo_label,
    report,
    student,
    teacher,
)

PARENTS = {"teacher": None, "g1": "teacher", "g2": "g1", "t1": "g2"}
MODELS = list(PARENTS)
STAGES = {
    "prepare": lambda: prepare.main(),
    "teacher": lambda: teacher.main(),
    "pseudo_label": lambda: pseudo_label.main(["g1"]),
    "student": lambda: student.main(["g1"]),
    "meta_pseudo_labels": lambda: meta_pseudo_labels.main(["m1"]),
    "baseline": lambda: baseline.main(["b1"]),
    "prepare_task": lambda: prepare_task.main(["t1"]),
    "extend": lambda: extend.main(["t1"]),
    "report": lambda: report.main(),
}
OUTPUTS: dict[str, list[str]] = {
    "prepare": ["data/prepared/base"],
    "teacher": ["models/teacher"],
    "pseudo_label": ["data/pseudo_labels"],
    "student": ["models/g1"],
    "meta_pseudo_labels": ["models/m1", "models/m1-teacher"],
    "baseline": ["models/b1"],
    "prepare_task": ["data/prepared/t1"],
    "extend": ["models/t1"],
}
# those that the seed decides about
TRAINED = ["teacher", "pseudo_label", "student", "meta_pseudo_labels", "baseline", "extend"]


def card(name: str) -> dict:
    """The card of a model in the working folder."""
    return json.loads((Path("models") / name / "card.json").read_text(encoding="utf-8"))
