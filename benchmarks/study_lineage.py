"""A lineage against the best baselines: generations, and semi-supervised methods alone, each tuned
by one budget, then measured at equal images on seeds that no choice has seen.

Baselines are labels alone (`supervised`) and every semi-supervised method, each with the best of
as many candidates. From the best method of all, with its settings, three arms go on with as many
candidates again: `lineage`, whose first teacher learns by it on a share of the images, with
generations of its labels (how large a share, how many, with the method beside the labels or not,
soft or hard labels of how many images, noise, averaging, sizes, a clean end); `meta`, whose first
teacher goes on in a pair of Meta Pseudo Labels, with its feedback or without; and `refined`, the
method by itself, two settings at a time changed, as are those of the other two in a last round.
Every forward pass through a network counts: of all trainings, in all views, and of labelling.

`python -m benchmarks.study_lineage` (`make study-lineage`) continues the search and the claims in
`results/*lineage_digits.csv` and prints the tables; `--figures docs` draws the learning curves
against images and CPU-minutes. Seeds also split the images into val and test,
so that val images of one seed are test images of another, the same for all arms.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.continual import Row, cell, difference
from benchmarks.learning_curves import Curve, along, draw_curves
from benchmarks.search import (
    Arm,
    Block,
    Chosen,
    Keys,
    Make,
    Models,
    Search,
    Space,
    around,
    draw,
    together,
)
from benchmarks.study import DIGITS_PARAMS, Study, filled, run
from benchmarks.study_meta import images_per_step
from pipeline.core.yaml_file import read

CANDIDATES = 8
POINTS = 20  # of a learning curve
PARTS = (0.25, 0.5, 0.75, 1.0)
VIEWS = {"pseudo_label": 1}  # of the unlabelled images, else 2
OWN_VIEWS = {"mean_teacher": 1}  # of the labelled images besides
CONSISTENCY = {"align": ["none", "uniform"], "weight": [0.5, 1.0, 2.0, 4.0]}
METHODS: dict[str, Space] = {
    "supervised": {},
    "pseudo_label": {
        "weight": [0.3, 1.0, 3.0],
        "threshold": [0.0, 0.7, 0.95],
        "ramp_steps": [200, 500],
    },
    "mean_teacher": {
        "weight": [1.0, 3.0, 10.0, 30.0],
        "ramp": [0.0, 0.27, 0.5],
        "ema_after": [0.99, 0.995, 0.999],
    },
    "uda": {**CONSISTENCY, "threshold": [0.5, 0.7, 0.8, 0.9], "temperature": [0.4, 0.7, 1.0]},
    "fixmatch": {**CONSISTENCY, "threshold": [0.7, 0.8, 0.9, 0.95]},
    "flexmatch": {**CONSISTENCY, "threshold": [0.7, 0.8, 0.9, 0.95], "warm_up": [True, False]},
    "freematch": {**CONSISTENCY, "momentum": [0.9, 0.99, 0.999], "fairness": [0.0, 0.01, 0.05]},
    "softmatch": {**CONSISTENCY, "momentum": [0.9, 0.99, 0.999], "narrowing": [1.0, 2.0, 4.0]},
}
LINEAGE: Space = {
    "share": [0.35, 0.5, 0.65, 0.8],
    "generations": [1, 2],
    "beside": [True, False],
    "noise": ["on", "off", "last off"],
    "sizes": ["same", "growing"],
    "end": [0, 50],
    "init": ["scratch", "teacher"],
    "labels.kind": ["soft", "hard"],
    "labels.share": [0.8, 1.0],
    "training.learning_rate": [0.02, 0.05, 0.1],
    "training.unlabelled_ratio": [3, 8],
    "training.unlabelled_weight": [1.0, 3.0, 8.0],
    "training.ema": [0.98, 0.99, 0.995],
}
META: Space = {
    "share": [0.35, 0.5, 0.65],
    "feedback": ["inner_product", "loss_difference", "none"],
    "init": ["scratch", "teacher"],
    "end": [25, 50, 100],
    "teacher_learning_rate": [0.01, 0.02, 0.05],
    "uda.threshold": [0.5, 0.7, 0.8],
    "training.learning_rate": [0.02, 0.05, 0.1],
    "training.unlabelled_ratio": [3, 5],
    "training.ema": [0.98, 0.99, 0.995],
}
# beside these two, in the last round
RECIPE: Space = {
    "share": [0.2, 0.35, 0.5, 0.65, 0.8],
    "training.learning_rate": [0.02, 0.05, 0.1],
    "training.batch_size": [12, 24],
    "training.unlabelled_ratio": [3, 5, 8],
    "training.magnitude": [5, 10],
    "training.num_ops": [1, 2],
    "training.dropout": [0.0, 0.3],
    "training.labelled_view": ["weak", "strong"],
}
OWN: dict[str, Space] = {
    "lineage": {**RECIPE, **LINEAGE},
    "meta": {**META, **RECIPE, "uda.weight": [0.5, 1.0, 2.0, 4.0]},
}
PAIR = {"feedback": "loss_difference", "init": "scratch", "teacher_learning_rate": 0.01}
ALL_LABELS = {"labels.threshold": 0.0, "labels.share": 1.0, "labels.balance": "none"}
CALM = {"training.num_ops": 0, "training.dropout": 0.0}


@dataclass(frozen=True)
class Ground:
    """The images that it is about.

    Attributes:
        name: what the files of its results are called by.
        params: to start from, without a lineage.
        changes: its keys that differ.
        networks: a smaller one and a larger one; the smaller one where nothing is chosen.
        space: what is searched of every model.
        student: recipe of a generation: most images pseudo-labelled, all of about equal weight.
        unlabelled: images at most; what a labelling costs.
        budget: images of an arm.
        claims: seeds of the claims.
    """

    name: str
    params: Path
    changes: Keys
    networks: tuple[Keys, Keys]
    space: Space
    student: Keys
    unlabelled: int
    budget: int
    claims: range

    def search(self) -> Search:
        """Of every arm. The block `teacher` trains for one step and counts for none of them."""
        idle = ("generations", "baselines", "meta_pseudo_labels", "tasks")
        once = {"teacher.training": {"steps": 1, "warmup_steps": 0}, "report.register": False}
        changes = {**dict.fromkeys(idle, {}), **once, **self.changes}
        return Search(f"lineage_{self.name}", self.params, changes)

    def recipe(self, block: Block) -> dict[str, Any]:
        """The recipe of a model."""
        shared = filled(read(self.params).values, self.changes)["training"]
        return {**shared, **block["training"]}

    def sized(self, block: Block, images: float) -> Block:
        """The block with as many steps as see so many images, evaluated at the end alone."""
        each = per_step(self.recipe(block), list(block["methods"]), "teacher" in block)
        return in_steps(block, int(images / each))


def in_steps(block: Block, steps: int) -> Block:
    """The block with so many steps, evaluated at the end alone."""
    sizes = {"steps": steps, "warmup_steps": min(50, steps // 4), "evaluate_every": steps}
    return filled(block, {f"training.{key}": value for key, value in sizes.items()})


def per_step(recipe: Mapping[str, Any], methods: Sequence[str], is_student: bool) -> int:
    """Images of a step: labelled ones, pseudo-labelled ones, and the methods' views."""
    labelled = recipe["batch_size"]
    unlabelled = max(1, round(labelled * recipe["unlabelled_ratio"]))
    views = sum(VIEWS.get(name, 2) for name in methods) + is_student
    own = sum(OWN_VIEWS.get(name, 0) for name in methods)
    return labelled * (1 + own) + unlabelled * views


# --- arms -------------------------------------------------------------------------------------


def block_of(ground: Ground, method: str, keys: Keys) -> Block:
    """A model's block, of keys of its own and, behind `method.`, of the method."""
    options = {k.removeprefix("method."): v for k, v in keys.items() if k.startswith("method.")}
    own = {key: value for key, value in keys.items() if not key.startswith("method.")}
    methods = {} if method == "supervised" else {method: options}
    size = ground.networks[own.pop("size", 0)]
    return filled({**size, "methods": methods, "training": {}}, own)


def baseline(ground: Ground, method: str, name: str, keys: Keys) -> Models:
    """A model by that method alone, on all of the budget."""
    return {"baselines": {name: ground.sized(block_of(ground, method, keys), ground.budget)}}


def lineage(ground: Ground, method: str, settings: Keys, name: str, keys: Keys) -> Models:
    """A first teacher by the method, and generations of its labels, together on the budget.

    Args:
        settings: of the method and its recipe, as they were chosen for it alone.
        keys: of `LINEAGE`; without any it is a half of the images, then one generation from
            scratch, with noise, by soft labels of all images and no others.
    """
    teacher = block_of(ground, method, settings)
    grown = {**teacher, **ground.networks[1]}
    num, share, end = keys.get("generations", 1), keys.get("share", 0.5), keys.get("end", 0)
    if keys.get("sizes") == "growing":
        teacher = {**teacher, **ground.networks[0]}
    else:
        grown = teacher
    own = {key: value for key, value in keys.items() if "." in key}
    size = ground.recipe(filled(teacher, ground.student, own))["batch_size"]
    left = ((1 - share) * ground.budget - end * size) / num
    parents = [f"{name}-teacher", *(f"{name}-g{number}" for number in range(1, num))]
    students = {}
    for number, (child, parent) in enumerate(zip([*parents[1:], name], parents, strict=True), 1):
        quiet = keys.get("noise") == "off" or (keys.get("noise") == "last off" and number == num)
        block = filled(
            {**grown, "teacher": parent, "methods": grown["methods"] if keys.get("beside") else {}},
            ALL_LABELS,
            ground.student,
            own,
            CALM if quiet else {},
        )
        if keys.get("init") == "teacher" and (number > 1 or grown == teacher):
            block["init"] = "teacher"
        if end and number == num:
            block["fine_tune"] = {"steps": end, "learning_rate": 0.01, "image_size": 0}
        students[child] = ground.sized(block, left - ground.unlabelled)
    first = ground.sized(teacher, share * ground.budget)
    return {"baselines": {parents[0]: first}, "generations": students}


def meta(ground: Ground, method: str, settings: Keys, name: str, keys: Keys) -> Models:
    """A first teacher by the method, and a pair of Meta Pseudo Labels that it begins, with a clean
    end.

    Args:
        settings: as of `lineage`.
        keys: of `META`; without any the paper's feedback, a half of the images for the teacher.
    """
    teacher = block_of(ground, method, settings)
    share, end = keys.get("share", 0.5), keys.get("end", 50)
    size = {key: teacher[key] for key in ("network", "width") if key in teacher}
    pair = {"teacher": f"{name}-first", **size, **PAIR}
    pair |= {"uda": {"weight": 1.0, "threshold": 0.6}, "training": dict(teacher["training"])}
    pair["fine_tune"] = {"steps": end, "learning_rate": 0.01, "image_size": 0}
    pair = filled(pair, {key: v for key, v in keys.items() if key not in ("share", "end")})
    recipe = ground.recipe(pair)
    left = (1 - share) * ground.budget - end * recipe["batch_size"]
    each = images_per_step(recipe["batch_size"], recipe["unlabelled_ratio"], pair["feedback"])
    first = ground.sized(teacher, share * ground.budget)
    return {
        "baselines": {f"{name}-first": first},
        "meta_pseudo_labels": {name: in_steps(pair, int(left / each))},
    }


def baselines(ground: Ground) -> dict[str, Arm]:
    """Of every method, what is searched of it and its recipe."""
    return {
        method: Arm(partial(baseline, ground, method), draw(space, CANDIDATES, method))
        for method, space in spaces(ground).items()
    }


def spaces(ground: Ground) -> dict[str, Space]:
    """Of every method."""
    return {
        method: {**ground.space, **{f"method.{key}": values for key, values in options.items()}}
        for method, options in METHODS.items()
    }


def second_round(ground: Ground, method: str, settings: Keys) -> dict[str, Arm]:
    """What goes on from the best method and its settings."""
    space = spaces(ground)[method]
    return {
        "lineage": Arm(
            partial(lineage, ground, method, settings), draw(LINEAGE, CANDIDATES, "lineage")
        ),
        "meta": Arm(partial(meta, ground, method, settings), draw(META, CANDIDATES, "meta")),
        "refined": around_best(partial(baseline, ground, method), settings, space, "refined"),
    }


def last_round(second: Mapping[str, Arm], best: Mapping[str, Chosen]) -> dict[str, Arm]:
    """The two that go on, refined as the best method was."""
    return {
        f"{name} refined": around_best(second[name].make, best[name].keys, space, name)
        for name, space in OWN.items()
    }


def around_best(make: Make, keys: Keys, space: Space, name: str) -> Arm:
    """The arm of these keys and of others near them."""
    return Arm(make, around(make, keys, space, CANDIDATES, name))


def digits() -> Ground:
    """Eight classes, three labels each."""
    return Ground(
        name="digits",
        params=DIGITS_PARAMS,
        changes={},
        networks=({"network": "small_cnn"}, {"network": "wide_cnn"}),
        space={
            "size": [0, 1],
            "training.learning_rate": [0.02, 0.05, 0.1],
            "training.batch_size": [12, 24],
            "training.unlabelled_ratio": [3, 5, 8],
            "training.ema": [0.98, 0.99, 0.995],
            "training.magnitude": [5, 10],
            "training.num_ops": [1, 2],
            "training.dropout": [0.0, 0.3],
            "training.labelled_view": ["weak", "strong"],
        },
        student={
            "training.batch_size": 12,
            "training.unlabelled_ratio": 8,
            "training.unlabelled_weight": 8.0,
            "training.learning_rate": 0.1,
            "training.ema": 0.98,
            "training.magnitude": 10,
            "training.num_ops": 2,
            "training.dropout": 0.3,
            "training.labelled_view": "strong",
        },
        unlabelled=860,
        budget=120_000,
        claims=range(700, 720),
    )


# --- study ------------------------------------------------------------------------------------


def tuned(ground: Ground) -> dict[str, Models]:
    """Run the searches; every arm's models at their best."""
    one, arms = ground.search(), baselines(ground)
    best = one.choose(arms)
    method = max((name for name in METHODS if name != "supervised"), key=lambda n: best[n].score)
    second = second_round(ground, method, best[method].keys)
    best |= one.choose(second)
    for name, chosen in one.choose(last_round(second, best)).items():
        best[name.removesuffix(" refined")] = chosen
    return {name: arm.make(name, best[name].keys) for name, arm in (arms | second).items()}


def claim(ground: Ground, arms: Mapping[str, Models]) -> Study:
    """All arms on fresh seeds, test read once; a row a seed, with `POINTS` of each learning curve
    of val."""
    columns = [f"{what}/{arm}" for what in ("acc", "val_acc") for arm in arms]
    every = [name for models in arms.values() for name in names(models)]
    columns += [f"{what}/{name}" for what in ("images_seen", "cpu_seconds") for name in every]
    columns += [f"curve/{name}" for name in every]
    models = {
        block: {name: often(keys) for name, keys in named.items()}
        for block, named in together(arms.values()).items()
    }
    chain = {**ground.search().changes, **models, "final": "lineage"}
    name = f"lineage_{ground.name}"
    return Study(name, {"default": chain}, ground.claims, columns, True, ground.params)


def often(block: Block) -> Block:
    """The block, evaluated at `POINTS` of its steps or a few more."""
    return filled(block, {"training.evaluate_every": max(1, block["training"]["steps"] // POINTS)})


def names(models: Models) -> list[str]:
    """Of the models of an arm."""
    return [name for named in models.values() for name in named]


def table(rows: Sequence[Row], arms: Mapping[str, Models]) -> str:
    """A line an arm: accuracies, what separates the lineage from it, and images."""
    head = ["%, n = " + str(len(rows)), "test", "val", "lineage - it, test", "thousand images"]
    head.append("CPU-minutes")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for arm, models in arms.items():
        seen, spent = (
            [sum(float(row[f"{what}/{name}"]) for name in names(models)) for row in rows]
            for what in ("images_seen", "cpu_seconds")
        )
        cells = [cell([float(row[f"{what}/{arm}"]) for row in rows]) for what in ("acc", "val_acc")]
        cells.append("" if arm == "lineage" else difference(rows, "acc/{}", "lineage", arm))
        cells += [f"{max(seen) / 1000:.1f}", f"{np.mean(spent) / 60:.2f}"]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


def on_the_way(curves: Mapping[str, Sequence[Curve]]) -> str:
    """A line an arm: val accuracy after parts of the images, and of the least CPU-minutes that any
    arm took; means over seeds."""
    images = max(curve.images[-1] for of in curves.values() for curve in of)
    minutes = min(np.mean([c.minutes[-1] for c in of]) for of in curves.values())
    head = [f"val, % after {part * images / 1000:.0f} thousand" for part in PARTS]
    head += [f"{part * minutes:.2f} CPU-minutes" for part in PARTS]
    lines = [f"| | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for arm, of in curves.items():
        cells = [np.mean([c.at(c.images, part * images) for c in of]) for part in PARTS]
        cells += [np.mean([c.at(c.minutes, part * minutes) for c in of]) for part in PARTS]
        lines.append(f"| {arm} | {' | '.join(f'{100 * value:.1f}' for value in cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, print the tables, draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--figures", type=Path, help="a folder to draw into")
    options = parser.parse_args()
    ground = digits()
    arms = tuned(ground)
    rows = run(claim(ground, arms))
    curves = {arm: [along(row, names(models)) for row in rows] for arm, models in arms.items()}
    print(table(rows, arms), on_the_way(curves), sep="\n\n")
    if options.figures:
        draw_curves(options.figures / f"lineage_{ground.name}.png", curves)


if __name__ == "__main__":
    main()
