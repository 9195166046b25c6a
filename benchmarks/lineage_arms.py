"""The arms of the study of lineages: how each is made of keys, and what is searched of it.

All arms of a ground see as many images, see `study_lineage`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

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
)
from benchmarks.study import filled
from benchmarks.study_meta import images_per_step
from pipeline.core.yaml_file import read

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
UDA: Space = {"uda.weight": [0.5, 1.0, 2.0, 4.0]}  # of a pair, in the last round
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
        methods: the baselines.
        networks: a smaller one and a larger one; the smaller one where nothing is chosen.
        space: what is searched of every model; the order of keys is part of what is drawn.
        starts: the first candidate of a baseline or of what goes on from one; without it, its
            defaults.
        lineage: what is searched of generations.
        meta: what is searched of pairs; nothing where there are none.
        mixup: its values that are tried.
        recipe_of_both: what is searched of these two besides, in the last round.
        student: recipe of a generation: most images pseudo-labelled, all of about equal weight.
        unlabelled: images at most; what a labelling costs.
        budget: images of an arm.
        budget_of_search: images of a candidate.
        candidates: of an arm.
        seeds: of each candidate.
        more: seeds of the best three.
        claims: seeds of the claims.
        of_others: how many of these seeds the other baselines are measured on, those that nothing
            goes on from.
    """

    name: str
    params: Path
    changes: Keys
    methods: Sequence[str]
    networks: tuple[Keys, Keys]
    space: Space
    starts: Mapping[str, Keys]
    lineage: Space
    meta: Space
    mixup: Sequence[float]
    recipe_of_both: Space
    student: Keys
    unlabelled: int
    budget: int
    budget_of_search: int
    candidates: int
    seeds: range
    more: range
    claims: range
    of_others: int

    def candidates_of(self, name: str, space: Space) -> list[Keys]:
        """Of a baseline or of what goes on from one."""
        return draw(space, self.candidates, name, self.starts.get(name, {}))

    def search(self) -> Search:
        """Of every arm. The block `teacher` trains for one step and counts for none of them."""
        idle = ("generations", "baselines", "meta_pseudo_labels", "tasks")
        once = {"teacher.training": {"steps": 1, "warmup_steps": 0}, "report.register": False}
        changes = {**dict.fromkeys(idle, {}), **once, **self.changes}
        name = f"lineage_{self.name}"
        return Search(name, self.params, changes, seeds=self.seeds, more=self.more)

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


def block_of(ground: Ground, method: str, keys: Keys) -> Block:
    """A model's block, of keys of its own and, behind `method.`, of the method."""
    options = {key.removeprefix("method."): value for key, value in of_method(keys).items()}
    own = {key: value for key, value in keys.items() if key not in of_method(keys)}
    methods = {} if method == "supervised" else {method: options}
    size = ground.networks[own.pop("size", 0)]
    return filled({**size, "methods": methods, "training": {}}, own)


def of_method(keys: Keys) -> Keys:
    """Those behind `method.`."""
    return {key: value for key, value in keys.items() if key.startswith("method.")}


def baseline(ground: Ground, method: str, name: str, keys: Keys) -> Models:
    """A model by that method alone, on all of the budget."""
    return {"baselines": {name: ground.sized(block_of(ground, method, keys), ground.budget)}}


def lineage(ground: Ground, method: str, settings: Keys, name: str, keys: Keys) -> Models:
    """A first teacher by the method, and generations of its labels, together on the budget.

    Args:
        settings: of the method and its recipe, as they were chosen for it alone.
        keys: of the ground's `lineage`, and of the method; without any it is a half of the images,
            then one generation from scratch, with noise, by soft labels of all images and no
            others.
    """
    teacher = block_of(ground, method, {**settings, **of_method(keys)})
    grown = {**teacher, **ground.networks[1]}
    num, share, end = keys.get("generations", 1), keys.get("share", 0.5), keys.get("end", 0)
    if keys.get("sizes") == "growing":
        teacher = {**teacher, **ground.networks[0]}
    else:
        grown = teacher
    own = {key: v for key, v in keys.items() if "." in key and key not in of_method(keys)}
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
        views = len(keys.get("labels.transforms", ["identity"]))
        students[child] = ground.sized(block, left - views * ground.unlabelled)
    first = ground.sized(teacher, share * ground.budget)
    return {"baselines": {parents[0]: first}, "generations": students}


def meta(ground: Ground, method: str, settings: Keys, name: str, keys: Keys) -> Models:
    """A first teacher by the method, and a pair of Meta Pseudo Labels that it begins, with a clean
    end.

    Args:
        settings: as of `lineage`.
        keys: of the ground's `meta`, and of the method; without any the paper's feedback, a half of
            the images for the teacher.
    """
    teacher = block_of(ground, method, {**settings, **of_method(keys)})
    share, end = keys.get("share", 0.5), keys.get("end", 50)
    size = {key: teacher[key] for key in ("network", "width") if key in teacher}
    pair = {"teacher": f"{name}-first", **size, **PAIR}
    pair |= {"uda": {"weight": 1.0, "threshold": 0.6}, "training": dict(teacher["training"])}
    pair["fine_tune"] = {"steps": end, "learning_rate": 0.01, "image_size": 0}
    others = {"share", "end", *of_method(keys)}
    pair = filled(pair, {key: v for key, v in keys.items() if key not in others})
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
        method: Arm(partial(baseline, ground, method), ground.candidates_of(method, space))
        for method, space in spaces(ground).items()
    }


def spaces(ground: Ground) -> dict[str, Space]:
    """Of every method."""
    return {
        method: {
            **ground.space,
            **{f"method.{key}": values for key, values in METHODS[method].items()},
        }
        for method in ground.methods
    }


def second_round(ground: Ground, method: str, settings: Keys) -> dict[str, Arm]:
    """What goes on from the best method and its settings."""
    own = partial(baseline, ground, method)
    refined = around_best(ground, own, settings, spaces(ground)[method], "refined")
    return {
        name: Arm(
            partial(make, ground, method, settings),
            ground.candidates_of(name, getattr(ground, name)),
        )
        for name, make in goes_on(ground).items()
    } | {"refined": refined}


def goes_on(ground: Ground) -> Mapping[str, Callable[..., Models]]:
    """How what goes on from a teacher is made."""
    return {"lineage": lineage} | ({"meta": meta} if ground.meta else {})


def last_round(
    ground: Ground, second: Mapping[str, Arm], best: Mapping[str, Chosen]
) -> dict[str, Arm]:
    """What goes on from a teacher, refined as the best method was."""
    spaces = {
        "lineage": {**ground.recipe_of_both, **ground.lineage},
        "meta": {**ground.meta, **UDA, **ground.recipe_of_both},
    }
    return {
        f"{name} refined": around_best(ground, second[name].make, best[name].keys, space, name)
        for name, space in spaces.items()
        if name in second
    }


def mixing(
    ground: Ground, best: Mapping[str, Chosen], method: str, settings: Keys
) -> dict[str, Arm]:
    """With mixup, what has it: methods that compare two views, and what goes on from one.

    Args:
        method, settings: what the others go on from.
    """
    mixes = [name for name in ground.methods if "align" in METHODS[name]]
    arms = {name: arm for name, arm in baselines(ground).items() if name in mixes}
    if method in mixes:
        arms |= second_round(ground, method, settings)
    if best["refined"].keys == settings:
        arms.pop("refined", None)
    tried = {name: [best[name].keys] for name in arms}
    if "lineage" in tried:
        tried["lineage"].append(as_its_teacher(settings))
    mixed = {
        name: [{**keys, "method.mixup": alpha} for keys in of for alpha in ground.mixup]
        for name, of in tried.items()
        if ground.mixup
    }
    return {f"{name} mixup": Arm(arms[name].make, keys) for name, keys in mixed.items()}


def as_its_teacher(settings: Keys) -> Keys:
    """Of a lineage whose student goes on as its teacher of these settings learns, beside its soft
    labels."""
    recipe = {key: value for key, value in settings.items() if key.startswith("training.")}
    return {"beside": True, "init": "teacher", **recipe, "training.unlabelled_weight": 1.0}


def around_best(ground: Ground, make: Make, keys: Keys, space: Space, name: str) -> Arm:
    """The arm of these keys and of others near them."""
    return Arm(make, around(make, keys, space, ground.candidates, name))
