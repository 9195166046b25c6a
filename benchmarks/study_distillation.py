"""Distillation: what a small student learns of a teacher, by each loss, from an ensemble, from
specialists; and soft targets as regularisers.

A chain has all of it on one teacher: `alone`, the student from labels; `labelled`, by `kd` on the
same images; a student for each loss, on labelled and unlabelled images, and FitNets in two stages
(`fitnets`); an ensemble `e1` of the teacher and a second model, and its student; specialists `s1`
of the teacher, and theirs. `large_alone` and `large_soft` are of the teacher's own size and see the
labelled images alone: by labels, and with the teacher's soft targets. All students make equal
steps. Each loss has three weights (`kd` three temperatures), of which val on other seeds chooses.

`python -m benchmarks.study_distillation` (`make study-distillation`) continues
`results/*distillation_digits.csv` and prints the tables; `--images <CIFAR-10>` adds
`results/*distillation_cifar10.csv`. Digits: three labels a class, a teacher by FlexMatch. CIFAR-10
at 16x16 pixels: 400 labels a class, a teacher by labels alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.continual import Row, cell, options
from benchmarks.search import Block
from benchmarks.study import CIFAR10_PARAMS, DIGITS_PARAMS, Study, filled, run

LOSSES: dict[str, list[dict[str, Any]]] = {
    "kd": [{"kd": {"temperature": t}} for t in (1.0, 4.0, 8.0)],
    "decoupled": [{"decoupled": {"beta": beta, "ramp_steps": 0}} for beta in (1.0, 4.0, 8.0)],
    "logits": [{"logits": {"weight": weight}} for weight in (0.1, 1.0, 10.0)],
    "hints": [{"hints": {"weight": weight}} for weight in (1.0, 10.0, 100.0)],
    "attention": [{"attention": {"weight": weight}} for weight in (10.0, 100.0, 1000.0)],
    "similarity": [{"similarity": {"weight": weight}} for weight in (10.0, 100.0, 1000.0)],
    "relational": [{"relational": {"distance": d, "angle": 2 * d}} for d in (1.0, 5.0, 25.0)],
}
OF_ALL = ("alone", "labelled", *LOSSES, "fitnets", "of_e1", "of_s1")  # students, all of one size
LARGE = ("large_alone", "large_soft")
TEACHERS = {"of_e1": "e1", "of_s1": "s1"}  # of the others it is the first model


@dataclass(frozen=True)
class Ground:
    """The images that it is about.

    Attributes:
        name: what the files of its results are called by.
        params: to start from.
        changes: its keys that differ.
        teacher: its block.
        second: the block of what answers with it.
        student: network and width.
        training: of all students.
        search, claims: seeds.
    """

    name: str
    params: Path
    changes: Mapping[str, Any]
    teacher: Block
    second: Block
    student: Block
    training: Block
    search: range
    claims: range

    def study(self, kind: str, models: Mapping[str, Block], seeds: range, test: bool) -> Study:
        """One arm that has all models.

        Args:
            kind: `tune_` or none, of the CSV.
            models: those that are not the teacher, by name, with `block` saying which they are of.
        """
        blocks: dict[str, Any] = {
            block: {name: own for name, own in models.items() if place(name, own) == block}
            for block in ("baselines", "ensembles", "specialists", "distilled")
        }
        arm = {
            "teacher": self.teacher,
            **dict.fromkeys(("generations", "tasks", "meta_pseudo_labels"), {}),
            **blocks,
            "final": "teacher",
            "report.register": False,
            **self.changes,
        }
        names = ["teacher", *models]
        columns = [f"val_acc/{name}" for name in names] + [f"num_parameters/{n}" for n in names]
        if test:
            columns += [f"{what}/{name}" for what in ("acc", "labelled_acc") for name in names]
        columns += [f"images_seen/{name}" for name in names] + ["seconds"]
        file = f"{kind}distillation_{self.name}"
        return Study(file, {"all": arm}, seeds, columns, test, self.params)

    def learns(self, methods: Mapping[str, Any], **others: Any) -> Block:
        """A student's block."""
        own = {"teacher": "teacher", **self.student, "training": dict(self.training)}
        return {**own, "methods": dict(methods), **others}


def place(name: str, block: Block) -> str:
    """The block of params.yaml that a model stands in."""
    if "first" in block:
        return "ensembles"
    if "num" in block:
        return "specialists"
    return "distilled" if "teacher" in block else "baselines"


def candidates(ground: Ground) -> dict[str, Block]:
    """Three students by each loss."""
    return {
        f"{name}-{number}": ground.learns(methods)
        for name, many in LOSSES.items()
        for number, methods in enumerate(many)
    }


def choose(ground: Ground) -> dict[str, dict[str, Any]]:
    """Of each loss the candidate with the highest mean on val."""
    tried = candidates(ground)
    rows = run(ground.study("tune_", tried, ground.search, test=False))
    chosen = {}
    for loss, many in LOSSES.items():
        means = [np.mean(_values(rows, f"val_acc/{loss}-{n}")) for n in range(len(many))]
        chosen[loss] = many[int(np.argmax(means))]
        print(f"{loss}: {np.round(100 * np.array(means), 1)}: {chosen[loss]}", flush=True)
    return chosen


def models(ground: Ground, chosen: Mapping[str, dict[str, Any]]) -> dict[str, Block]:
    """All models of the claims but the teacher."""
    kd, first = chosen["kd"], ground.training["steps"] // 4
    hints = {"hints": {**chosen["hints"]["hints"], "alone_steps": first}}
    soft = {"network": ground.teacher["network"], "width": ground.teacher.get("width", 1.0)}
    annealed = {"kd": {**kd["kd"], "end": 0.1}}
    alone = {**ground.student, "methods": {}, "training": dict(ground.training)}
    return {
        "alone": alone,
        "labelled": ground.learns(kd, images="labelled"),
        **{loss: ground.learns(methods) for loss, methods in chosen.items()},
        "fitnets": filled(
            ground.learns({**hints, **annealed}),
            {"training.steps": ground.training["steps"] - first},
        ),
        "second": ground.second,
        "e1": {"first": "teacher", "second": "second"},
        "s1": {"teacher": "teacher", "num": 3, "training": dict(ground.training)},
        "of_e1": ground.learns(kd) | {"teacher": "e1"},
        "of_s1": ground.learns(kd) | {"teacher": "s1"},
        "large_alone": {**alone, **soft},
        "large_soft": ground.learns(kd, images="labelled") | soft,
    }


def table(rows: Sequence[Row]) -> str:
    """A line a model: weights, accuracies, what it is more than the same student alone, what it
    keeps of its teacher."""
    head = ["", "weights", "test, %", "val, %", "- alone", "of its teacher's"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name in ("teacher", "second", "e1", "s1", *OF_ALL):
        test, val = (_values(rows, f"{what}/{name}") for what in ("acc", "val_acc"))
        cells = [name, f"{_values(rows, f'num_parameters/{name}')[0]:,.0f}", cell(test), cell(val)]
        student = name in OF_ALL and name != "alone"
        more = test - _values(rows, "acc/alone")
        kept = test / _values(rows, f"acc/{TEACHERS.get(name, 'teacher')}")
        cells += [cell(more, "+"), cell(kept)] if student else ["", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def gaps(rows: Sequence[Row]) -> str:
    """Of the models of the teacher's size: accuracy on the labelled images, on test, and between
    the two."""
    lines = ["| | labelled, % | test, % | gap |", "|---|---|---|---|"]
    found = {}
    for name in LARGE:
        mine, test = (_values(rows, f"{what}/{name}") for what in ("labelled_acc", "acc"))
        found[name] = mine - test
        lines.append(f"| {name} | {cell(mine)} | {cell(test)} | {cell(mine - test)} |")
    alone, soft = (found[name] for name in LARGE)
    return "\n".join(lines) + f"\n\n{LARGE[1]} - {LARGE[0]}, gaps: {cell(soft - alone, '+')}"


def _values(rows: Sequence[Row], column: str) -> np.ndarray:
    return np.array([float(row[column]) for row in rows])


def digits() -> Ground:
    """Eight classes, three labels each."""
    steps = {"steps": 400, "evaluate_every": 400, "ema": 0.995}
    flexmatch = {"methods": {"flexmatch": {}}, "training": steps}
    return Ground(
        name="digits",
        params=DIGITS_PARAMS,
        changes={"training.labelled_view": "weak"},
        teacher={"network": "wide_cnn", **flexmatch},
        second={"network": "small_cnn", **flexmatch},
        student={"network": "small_cnn", "width": 0.5},
        training={"steps": 200, "evaluate_every": 200, "unlabelled_ratio": 2},
        search=range(3),
        claims=range(800, 820),
    )


def cifar10(images: Path) -> Ground:
    """Photographs of 16x16 pixels, 400 labels a class."""
    labels = {"methods": {}, "training": {"steps": 2500, "batch_size": 64, "learning_rate": 0.1}}
    calm = {"training.num_ops": 1, "training.dropout": 0.0, "training.unlabelled_ratio": 1}
    return Ground(
        name="cifar10",
        params=CIFAR10_PARAMS,
        changes={"data.root": str(images.resolve()), **calm},
        teacher={"network": "resnet_9", "width": 0.25, **labels},
        second={"network": "resnet_9", "width": 0.25, **labels},
        student={"network": "resnet_9", "width": 0.125},
        training={"steps": 300, "evaluate_every": 300},
        search=range(2),
        claims=range(800, 804),
    )


def main() -> None:
    """Run what is missing and print the tables."""
    given = options(__doc__)
    for ground in [digits(), *([cifar10(given.images)] if given.images else [])]:
        chosen = choose(ground)
        rows = run(ground.study("", models(ground, chosen), ground.claims, test=True))
        print(f"\n{ground.name}, n = {len(rows)}\n\n{table(rows)}\n\n{gaps(rows)}\n", flush=True)


if __name__ == "__main__":
    main()
