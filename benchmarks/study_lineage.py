"""A lineage against the best baselines: generations, and semi-supervised methods alone, each tuned
by one budget, then measured at equal images on seeds that no choice has seen.

Baselines are labels alone (`supervised`) and every semi-supervised method. A lineage is a first
teacher by the method that did best, with its settings, and generations of its labels; what the
share of the images is that the teacher may use, how many generations follow and how, is searched as
the baselines' settings are. Every forward pass through a network counts: of all trainings, in all
views, and of labelling.

`python -m benchmarks.study_lineage` (`make study-lineage`) continues the search and the claims in
`results/*lineage_digits*.csv` and prints the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.continual import difference, table
from benchmarks.search import Block, Changes, Keys, Make, Search, Space, filled, together
from benchmarks.study import Study, run
from pipeline.core.yaml_file import read

OWN_VIEWS = {"mean_teacher": 1}  # views of the labelled images besides
VIEWS = {"pseudo_label": 1}  # of the unlabelled images, else 2
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


@dataclass(frozen=True)
class Ground:
    """The images that it is about.

    Attributes:
        name: what the files of its results are called by.
        params: to start from, without a lineage.
        changes: its keys that differ.
        model: a model's block without methods.
        space: what is searched of every model's recipe.
        unlabelled: images, about; what a labelling costs.
        budget: images of an arm.
        claims: seeds of the claims.
    """

    name: str
    params: Path
    changes: Keys
    model: Block
    space: Space
    unlabelled: int
    budget: int
    claims: range

    def search(self) -> Search:
        """Of every arm."""
        common = {"meta_pseudo_labels": {}, "tasks": {}, "report.register": False}
        once = {"teacher.training": {"steps": 1, "warmup_steps": 0}}  # it counts for no arm
        return Search(f"lineage_{self.name}", self.params, {**common, **once, **self.changes})

    def steps(self, block: Block, images: float) -> int:
        """Steps in which a model sees so many images."""
        recipe = {**read(self.params).values["training"], **block["training"]}
        return max(1, int(images / per_step(recipe, list(block["methods"]), "teacher" in block)))

    def sized(self, block: Block, images: float) -> Block:
        """The block with as many steps as that, evaluated at the end alone."""
        steps = self.steps(block, images)
        warmup = min(50, steps // 4)
        sizes = {"steps": steps, "warmup_steps": warmup, "evaluate_every": steps}
        return filled(block, {f"training.{key}": value for key, value in sizes.items()})


def per_step(recipe: Mapping[str, Any], methods: Sequence[str], is_student: bool) -> int:
    """Images of a step: labelled ones, pseudo-labelled ones, and the methods' views."""
    labelled = recipe["batch_size"]
    unlabelled = max(1, round(labelled * recipe["unlabelled_ratio"]))
    views = sum(VIEWS.get(name, 2) for name in methods) + is_student
    own = sum(OWN_VIEWS.get(name, 0) for name in methods)
    return labelled * (1 + own) + unlabelled * views


# --- arms -------------------------------------------------------------------------------------


def baseline(ground: Ground, method: str, name: str, keys: Keys) -> Changes:
    """A model by that method alone, on all of the budget."""
    return {"baselines": {name: ground.sized(block_of(ground, method, keys), ground.budget)}}


def block_of(ground: Ground, method: str, keys: Keys) -> Block:
    """A model's block, of keys of its own and, behind `method.`, of the method."""
    options = {k.removeprefix("method."): v for k, v in keys.items() if k.startswith("method.")}
    own = {key: value for key, value in keys.items() if not key.startswith("method.")}
    methods = {} if method == "supervised" else {method: options}
    return filled({**ground.model, "methods": methods, "training": {}}, own)


LINEAGE: Space = {
    "share": [0.35, 0.5, 0.65],
    "generations": [1, 2, 3],
    "beside": [True, False],
    "labels.kind": ["soft", "hard"],
    "labels.share": [0.6, 1.0],
    "noise": ["on", "off", "last off"],
    "training.unlabelled_weight": [1.0, 3.0],
    "init": ["scratch", "teacher"],
}
STUDENT = {"labels.threshold": 0.0, "labels.share": 1.0, "labels.balance": "none"}
CALM = {"training.num_ops": 0, "training.magnitude": 0, "training.dropout": 0.0}


def lineage(ground: Ground, method: str, settings: Keys, name: str, keys: Keys) -> Changes:
    """A first teacher by the method, and generations of its labels, together on the budget.

    Args:
        settings: of the method and its recipe, as they were chosen for it alone.
        keys: of `LINEAGE`; those that are not there are a half of the images, one generation from
            scratch with noise, and the labels of all images, soft.
    """
    share, num = keys.get("share", 0.5), keys.get("generations", 1)
    teacher, models = f"{name}-teacher", {}
    first = block_of(ground, method, settings)
    left = (1 - share) * ground.budget / num - ground.unlabelled
    own = {
        k: v for k, v in keys.items() if k in ("init",) or k.startswith(("labels.", "training."))
    }
    for number in range(1, num + 1):
        last = number == num
        noise = keys.get("noise", "on")
        calm = CALM if noise == "off" or (noise == "last off" and last) else {}
        student = first if keys.get("beside") else {**first, "methods": {}}
        parent = teacher if number == 1 else f"{name}-g{number - 1}"
        block = filled({**student, "teacher": parent}, STUDENT, own, calm)
        models[name if last else f"{name}-g{number}"] = ground.sized(block, left)
    teachers = {teacher: ground.sized(first, share * ground.budget)}
    return {"baselines": teachers, "generations": models}


def digits() -> Ground:
    """Eight classes, three labels each."""
    return Ground(
        name="digits",
        params=Path("params.yaml"),
        changes={},
        model={"network": "small_cnn"},
        space={
            "network": ["small_cnn", "wide_cnn"],
            "training.learning_rate": [0.02, 0.05, 0.1],
            "training.batch_size": [12, 24],
            "training.unlabelled_ratio": [3, 5, 8],
            "training.ema": [0.98, 0.99, 0.995],
            "training.magnitude": [5, 10],
            "training.num_ops": [1, 2],
            "training.dropout": [0.0, 0.3],
            "training.labelled_view": ["weak", "strong"],
        },
        unlabelled=860,
        budget=240_000,
        claims=range(700, 720),
    )


# --- study ------------------------------------------------------------------------------------


def chosen(ground: Ground) -> dict[str, Changes]:
    """Run the searches; every arm's models, tuned."""
    search = ground.search()
    arms = baselines(ground)
    best = search.choose(arms)
    method = max(set(METHODS) - {"supervised"}, key=lambda name: best[name].score)
    make = partial(lineage, ground, method, best[method].keys)
    ours = search.choose({"lineage": (make, LINEAGE)})["lineage"]
    tuned = {name: make(name, best[name].keys) for name, (make, _) in arms.items()}
    return {**tuned, "lineage": make("lineage", ours.keys)}


def baselines(ground: Ground) -> dict[str, tuple[Make, Space]]:
    """How each is made, and what is searched of it."""
    return {
        method: (
            partial(baseline, ground, method),
            {**ground.space, **{f"method.{key}": values for key, values in options.items()}},
        )
        for method, options in METHODS.items()
    }


def claim(ground: Ground, arms: Mapping[str, Changes]) -> list[dict[str, str]]:
    """All arms on fresh seeds, test read once; a row a seed."""
    columns = [f"{what}/{arm}" for what in ("acc", "val_acc", "images_seen") for arm in arms]
    chains = {"default": {**ground.search().changes, **together(list(arms.values()))}}
    name = f"lineage_{ground.name}"
    return run(Study(name, chains, ground.claims, columns, True, ground.params))


def main() -> None:
    """Run what is missing; print the table and what separates the lineage from the others."""
    for ground in (digits(),):
        arms = chosen(ground)
        rows = claim(ground, arms)
        print(table(rows, list(arms), {"test": "acc/{}", "val": "val_acc/{}"}))
        for arm in arms:
            print(f"lineage - {arm}: {difference(rows, 'acc/{}', 'lineage', arm)}")


if __name__ == "__main__":
    main()
