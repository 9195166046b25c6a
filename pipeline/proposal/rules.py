"""The rules: a value for every key of params.yaml, and the reason for it.

docs/recipes.md tells them at length, benchmarks/RESULTS.md what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pipeline.pages.formats import counted
from pipeline.proposal.facts import Facts
from pipeline.proposal.ladder import LADDER, LEAST_STEPS, Rung, rungs

GENERATIONS = {  # by name, with the reason for each
    "g1": "goes on from its teacher's weights, by labels and its teacher's answers",
    "g2": "the same once more: it gains less than the first, and a third one less still",
}
BATCH = {"teacher": 64, "student": 32}  # labelled images in a step
RATE = {"teacher": 0.1, "student": 0.05}
MOST_RATIO = 5  # unlabelled images for a labelled one in a student's step
EVALUATIONS = 5  # of each training
EPOCHS = 100  # more gain little


class Because(NamedTuple):
    """A value and the reason for it."""

    value: Any
    why: str = ""


Values = Mapping[str, "Because | Values"]


def plain(values: Values) -> dict:
    """The values without their reasons."""
    return {k: v.value if isinstance(v, Because) else plain(v) for k, v in values.items()}


class Recipe(NamedTuple):
    """What is chosen before values are written down.

    Attributes:
        facts: of the images.
        rung: the network and the side of its images.
        steps: of every training.
    """

    facts: Facts
    rung: Rung
    steps: int

    @property
    def ratio(self) -> int:
        """Unlabelled images for a labelled one in a step: as there are, at most `MOST_RATIO`."""
        there = round(self.facts.unlabelled / self.facts.labelled)
        return min(MOST_RATIO, max(1, there))


def most_steps(facts: Facts) -> int:
    """Of a training, however much time there is."""
    images = BATCH["teacher"]
    if facts.unlabelled:
        images = BATCH["student"] * (1 + Recipe(facts, LADDER[0], 0).ratio)
    return max(LEAST_STEPS, EPOCHS * (facts.labelled + facts.unlabelled) // images)


def data(recipe: Recipe, where: Values) -> Values:
    """The block `data`.

    Args:
        where: the keys that say where images and classes come from.
    """
    facts, side = recipe.facts, recipe.rung.side
    per_class = facts.labels_per_class
    all_of_them = "every label is worth having"
    return {
        **where,
        "size": Because(side, _size(facts.side, side)),
        "labels_per_class": Because(per_class, all_of_them if per_class == "all" else "as asked"),
        "val": Because(facts.val_share, _val(facts)),
        "test": Because(facts.test_share, _test(facts)),
        "seed": Because(0, "another seed, other val images"),
    }


def _size(photos: int, side: int) -> str:
    if side >= photos:
        return f"pixels: nearly all photos have {photos} or more, so nothing is lost"
    if side >= rungs(photos)[0].side:
        return f"pixels: nearly all photos have {photos} or more, so little is lost"
    return f"pixels: the photos have {photos}, more would leave time for too few steps"


def _val(facts: Facts) -> str:
    if not facts.val_share:
        return f"the folder brings {facts.val:,} of its own"
    return f"about {counted(facts.val, 'image')} to judge the models, not to train them"


def _test(facts: Facts) -> str:
    if facts.test_share:
        return f"about {counted(facts.test, 'image')} for the last word, which no choice has seen"
    if facts.test:
        return f"the folder brings {facts.test:,} of its own"
    return "none: with so few labels each is worth more in training"


def training(recipe: Recipe) -> Values:
    """The block `training`."""
    facts, side, steps = recipe.facts, recipe.rung.side, recipe.steps
    who = "student" if facts.unlabelled else "teacher"
    mirrored = "a mirrored photo shows the same; set false where left and right matter"
    grey = "grey images are often letters or scans; set true if a mirrored one shows the same"
    all_there_is = steps >= rounded(most_steps(facts))
    return {
        "steps": Because(steps, f"of each model: {_steps(all_there_is)}"),
        "batch_size": Because(BATCH[who], "labelled images in a step"),
        "unlabelled_ratio": Because(recipe.ratio, "unlabelled ones in it for each of them"),
        "unlabelled_weight": Because(
            float(recipe.ratio), "as the ratio, so that every image counts about the same"
        ),
        "optimizer": Because("sgd", "with Nesterov momentum, as is usual for convolutions"),
        "learning_rate": Because(RATE[who], "the peak of a cosine that ends at 0"),
        "warmup_steps": Because(min(100, steps // 10), "fresh weights do not bear the full rate"),
        "weight_decay": Because(5e-4, "as is usual for images of this size"),
        "clip_norm": Because(0, "no limit: at this rate none is needed"),
        "label_smoothing": Because(0.0, "soft pseudo-labels are smooth already"),
        "dropout": Because(0.0, "RandAugment is noise enough in so short a training"),
        "stochastic_depth": Because(0.0, "the same"),
        "ema": Because(0.99, "the mean of the last hundred steps teaches and ships"),
        "flip": Because(facts.colour, mirrored if facts.colour else grey),
        "shift": Because(max(1, side // 8), "pixels, an eighth of the side"),
        "num_ops": Because(2, "operations of RandAugment on an image"),
        "magnitude": Because(10, "of 30, the best of three in the digits' study"),
        "keep": Because("last", "what is best on few val images is lucky"),
        "evaluate_every": Because(steps // EVALUATIONS, "steps: a curve of five points"),
    }


def _steps(all_there_is: bool) -> str:
    return "more gain little" if all_there_is else "as many as the minutes leave time for"


def rounded(steps: int) -> int:
    """Down to two digits."""
    unit = 10 ** max(0, len(str(steps)) - 2)
    return steps // unit * unit


def labels(recipe: Recipe) -> Values:
    """The block `labels`."""
    transforms = ["identity", "flip"] if recipe.facts.colour else ["identity"]
    return {
        "transforms": Because(transforms, "a teacher is a little better over both"),
        "threshold": Because(0.0, "none: `share` chooses, however sure the teacher is"),
        "share": Because(0.8, "of each class the surest: the rest is wrong most often"),
        "temperature": Because(1.0, "as sure as the teacher is"),
        "kind": Because("soft", "the student hears of the teacher's doubts"),
        "balance": Because(
            "equal", "no class crowds out the others; use none if some are far rarer"
        ),
    }


def models(recipe: Recipe) -> Values:
    """The blocks of models, and the rest."""
    rung, unlabelled = recipe.rung, recipe.facts.unlabelled
    network = {"network": rung.network} | ({"width": rung.width} if rung.width != 1 else {})
    own = {"batch_size": BATCH["teacher"], "learning_rate": RATE["teacher"]}
    students = {
        name: Because({"teacher": teacher, **network, "init": "teacher"}, reason)
        for (name, reason), teacher in zip(GENERATIONS.items(), ("teacher", *GENERATIONS))
    }
    why = (
        "from labels alone, in larger steps; an image takes about "
        f"{rung.work:g} million multiplications"
    )
    none = Because({}, "none: no image is without a label, so there is nothing to learn from")
    return {
        "teacher": Because(network | ({"training": own} if unlabelled else {}), why),
        "generations": students if unlabelled else none,
        "meta_pseudo_labels": Because({}, "no better than a generation in our studies"),
        "baselines": Because({}, "models to compare with"),
        "ensembles": Because({}, "models that answer together"),
        "specialists": Because({}, "models of the classes that another one confuses"),
        "distilled": Because({}, "smaller models that learn from a larger one's answers"),
        "tasks": Because({}, "classes to learn later, on top"),
        "final": Because(
            list(GENERATIONS)[-1] if unlabelled else "teacher", "the model meant to ship"
        ),
    }


def report(recipe: Recipe) -> Values:
    """The block `report`."""
    has = bool(recipe.facts.test)
    why = "test images are read once, at the end" if has else "there are no test images"
    return {
        "test": Because(has, why),
        "register": Because(True, "what ships is kept in MLflow's registry"),
    }


def recipe_values(recipe: Recipe, where: Values) -> Values:
    """All of params.yaml."""
    return {
        "seed": Because(0, "of initial weights, order and noise"),
        "data": data(recipe, where),
        "training": training(recipe),
        "labels": labels(recipe),
        **models(recipe),
        "report": report(recipe),
    }
