"""For every key of params.yaml: another value, in which setting it counts, and what it changes.

A key that stands in several blocks has one row here, under its shortest name; what is `given` is of
the same block. `wires()` has every key of the schema by its whole name.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from faults import NAMES

from pipeline import tracking
from pipeline.continual.options import Methods
from pipeline.core import files
from pipeline.data import store
from pipeline.labelling import pseudo_labels
from pipeline.methods.distillation import DISTILLATION
from pipeline.params.check import load
from stages.report import experiment, results

TRAINED = ["teacher", *(f"{b}.{name}" for b, name in NAMES.items() if b != "ensembles")]


class Wire(NamedTuple):
    """What a key does.

    Attributes:
        what: is made with it, see `wiring_project.MAKES`.
        other: another value of it.
        given: values of other keys, with either value.
        also: values that must change with it.
        watch: what of that is to differ; or the words with which the other value is refused.
    """

    what: str
    other: Any
    given: dict[str, Any] = {}
    also: dict[str, Any] = {}
    watch: Callable[[Path, str], Any] | str = ""


# --- what is watched --------------------------------------------------------------------------


def weights(folder: Path, what: str) -> list[str]:
    """Of the model; of a pair, of both."""
    made = [folder / "models" / name for name in (what, f"{what}-teacher")]
    return [files.sha256(path / "model.safetensors") for path in made if path.exists()]


def memory(folder: Path, what: str) -> str:
    """What a task's methods keep for the next."""
    return files.sha256(folder / "models" / what / "memory.safetensors")


def rows(folder: Path, what: str) -> list[dict[str, str]]:
    """Of the model's curve."""
    with open(folder / "models" / what / "curves.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def steps(folder: Path, what: str) -> list[str]:
    """At which the curve was evaluated."""
    return [row["step"] for row in rows(folder, what)]


def accuracy(folder: Path, what: str) -> float:
    """On val, of what ships."""
    return files.read_json(folder / "models" / what / "card.json")["metrics"]["val_acc"]


def val_loss(folder: Path, what: str) -> float:
    """On val, of the model."""
    return files.read_json(folder / "models" / what / "card.json")["metrics"]["val_loss"]


def labels(folder: Path, what: str) -> str:
    """Pseudo-labels."""
    return pseudo_labels.load(folder / "data/pseudo_labels/g1.safetensors")[0].digest()


def images(folder: Path, what: str) -> dict:
    """Which images are in which split of the data set."""
    card = store.load(folder / "data/prepared" / ("base" if what == "base" else "t1")).card
    return {key: card[key] for key in ("classes", "counts", "sha256")}


def ships(folder: Path, what: str) -> str:
    """The model that the report's gate lets through."""
    return results(experiment(load())).verdict.ships


def splits_read(folder: Path, what: str) -> list[str]:
    """By the report."""
    return list(results(experiment(load())).measured["teacher"].answers)


def registered(folder: Path, what: str) -> str:
    """What the report says of the registry, where nothing is tracked."""
    made = results(experiment(load()))
    of = (made.experiment, made.metrics, {}, made.verdict, folder / "report")
    return tracking.record_pipeline(*of)


# --- the keys of a model's training -----------------------------------------------------------

PSEUDO_LABEL = {"start_step": 0, "ramp_steps": 0}
SMALL_MODEL = {"network": "small_cnn", "width": 0.25}
BEGUN = {  # weights to begin with that are worth keeping, by the block of a model
    "teacher": {"pretrained": "one"},
    "generations.g1": {"init": "teacher"},
    "meta_pseudo_labels.m1": {"init": "teacher"},
    "baselines.b1": {"pretrained": "one"},
    "distilled.d1": {"pretrained": "one"},
    "tasks.t1": {},
    "specialists.s1": {},
}
RUINED = {"steps": 6, "learning_rate": 1.0, "ema": 0.0, "evaluate_every": 1}
ALONE = dict.fromkeys(("meta_pseudo_labels", "baselines", "tasks"), {})
ALONE |= dict.fromkeys(("ensembles", "specialists", "distilled"), {})
RESIDUAL = {"network": "resnet_9", "width": 0.125}
TRAINING = {
    "steps": 4,
    "batch_size": 5,
    "unlabelled_ratio": 2.0,
    "unlabelled_weight": 0.5,
    "optimizer": "adamw",
    "learning_rate": 0.01,
    "warmup_steps": 2,
    "weight_decay": 0.1,
    "clip_norm": 0.01,
    "label_smoothing": 0.2,
    "dropout": 0.0,
    "stochastic_depth": 0.5,
    "ema": 0.0,
    "batch_norm": "separate",
    "image_size": 12,
    "labelled_view": "weak",
    "flip": True,
    "shift": 0,
    "num_ops": 1,
    "magnitude": 30,
    "magnitude_std": 5.0,
    "cutout": 0.5,
    "keep": "best",
    "evaluate_every": 1,
    "train": "fc",
    "features": "frozen",
}


def training(pretrained: dict) -> Iterator[tuple[str, Wire]]:
    """Of the shared block, which a student shows, and of each model's own."""
    for place in ["", *TRAINED]:
        model = place or "generations.g1"
        what = model.split(".")[-1]
        begun = {
            f"{model}.{key}": pretrained if value == "one" else value
            for key, value in BEGUN[model].items()
        }
        residual = {f"{model}.{key}": value for key, value in RESIDUAL.items()}
        if not place:  # what all models share must do for them all
            begun |= ALONE | {"teacher.pretrained": pretrained}
            residual |= ALONE | {f"teacher.{key}": value for key, value in RESIDUAL.items()}
        if what == "t1":
            residual = {"tasks.t1.base": "r1"}
        if what == "s1":
            residual = {"specialists.s1.teacher": "r1"}
        own = f"{place}.training" if place else "training"
        ruined = {f"{own}.{key}": value for key, value in RUINED.items()}
        if what == "t1":  # which little ruins
            ruined[f"{own}.learning_rate"] = 3.0
        unaided = begun | ({f"{model}.methods": {}} if what not in ("m1", "d1", "s1") else {})
        unaided |= {} if place else {"teacher.methods": {}}
        given = {"keep": begun | ruined, "train": begun, "stochastic_depth": residual}
        given |= {"features": unaided}
        given |= {"label_smoothing": {"specialists.s1.soft": 0.0} if what == "s1" else {}}
        for key, other in TRAINING.items():
            watch = steps if key == "evaluate_every" else weights
            if key == "unlabelled_weight" and what == "t1":
                given["unlabelled_weight"] = BY_ITSELF
            elif key == "unlabelled_weight" and what not in ("g1", "s1"):
                watch = "has no teacher's pseudo-labels to weigh"
            if key == "image_size" and what == "t1":
                watch = "a task keeps the resolution of its base"
            if key == "features" and what in ("m1", "s1"):
                watch = f"'{what}' trains on views"
            if key == "features" and what == "d1":
                watch = "kd looks at views of images"
            yield f"{own}.{key}", Wire(what, other, given.get(key, {}), watch=watch)


FINE_TUNE = {"steps": 3, "learning_rate": 0.5, "image_size": 12}
GENERATOR = {"steps": 2, "batch_size": 8, "latent": 4, "width": 4}
UNSURE = {"threshold": 0.97, "temperature": 0.02}  # for a confidence before sharpening
METHODS = {  # for each option: another value, and what else is given
    "pseudo_label": {
        "weight": (1.0, PSEUDO_LABEL),
        "threshold": (1.0, PSEUDO_LABEL),
        "start_step": (2, PSEUDO_LABEL),
        "ramp_steps": (5, PSEUDO_LABEL),
    },
    "uda": {
        "weight": (2.0, {"threshold": 0.0}),
        "threshold": (1.0, {"threshold": 0.0}),
        "temperature": (1.0, {"threshold": 0.0}),
        "ramp_steps": (5, {"threshold": 0.0}),
        "weak_view": ("joint", {"threshold": 0.0}),
        "confidence": ("sharpened", UNSURE | {"confidence": "plain"}),
        "align": ("uniform", {"threshold": 0.0}),
        "align_momentum": (0.0, {"threshold": 0.0, "align": "uniform"}),
        "mixup": (0.75, {"threshold": 0.0}),
    },
    "fixmatch": {
        "weight": (2.0, {"threshold": 0.0}),
        "threshold": (1.0, {"threshold": 0.0}),
        "weak_view": ("joint", {"threshold": 0.0}),
        "align": ("uniform", {"threshold": 0.0}),
        "align_momentum": (0.0, {"threshold": 0.0, "align": "uniform"}),
        "mixup": (0.75, {"threshold": 0.0}),
    },
    "flexmatch": {
        "weight": (2.0, {"threshold": 0.0}),
        "threshold": (0.8, {"threshold": 0.0, "warm_up": False}),
        "warm_up": (True, {"threshold": 0.8, "warm_up": False}),
        "weak_view": ("joint", {"threshold": 0.0}),
        "align": ("uniform", {"threshold": 0.0}),
        "align_momentum": (0.0, {"threshold": 0.0, "align": "uniform"}),
        "mixup": (0.75, {"threshold": 0.0}),
    },
    "freematch": {
        "weight": (2.0, {}),
        "weak_view": ("joint", {}),
        "momentum": (0.0, {}),
        "fairness": (5.0, {}),
        "align": ("uniform", {}),
        "align_momentum": (0.0, {"align": "uniform"}),
        "mixup": (0.75, {}),
    },
    "softmatch": {
        "weight": (2.0, {}),
        "weak_view": ("joint", {}),
        "momentum": (0.0, {}),
        "narrowing": (20.0, {"momentum": 0.1}),
        "align": ("none", {"momentum": 0.1}),
        "align_momentum": (0.0, {"momentum": 0.1}),
        "mixup": (0.75, {}),
    },
    "mean_teacher": {
        "weight": (2.0, {}),
        "ramp": (1.0, {}),
        "ema": (0.01, {"ramp": 1.0}),
        "ema_after": (0.01, {"ramp": 0.0}),
    },
    "lwf": {
        "weight": (5.0, {"warmup_steps": 1}),
        "temperature": (5.0, {"warmup_steps": 1}),
        "warmup_steps": (2, {"warmup_steps": 1}),
        "record": (True, {"warmup_steps": 1}),
        "balance": ("classes", {"warmup_steps": 1}),
    },
    "lfl": {"weight": (5.0, {})},
    "lwm": {"weight": (5.0, {})},
    "piggyback": {  # so fast that three steps shut some masks
        "start": (0.02, {"rate": 10_000.0}),
        "threshold": (0.0, {"rate": 10_000.0}),
        "rate": (10_000.0, {}),
    },
    "l2_sp": {"weight": (5.0, {})},
    "ewc": {
        "weight": (2.0, {"weight": 20.0}),
        "fisher": ("empirical", {"weight": 20.0}),
        "tasks": ("online", {"weight": 20.0}),
        "gamma": (0.5, {"weight": 20.0, "tasks": "online"}),
        "limit": (0.0, {"weight": 400.0}),
        "images": (2, {"weight": 20.0}),
    },
    "bic": {"share": (0.6, {}), "l2": (5.0, {}), "steps": (1, {})},
    "replay": {
        "weight": (2.0, {}),
        "memory": (16, {}),
        "choose": ("random", {"memory": 16}),
        "unlabelled": (False, {}),
        "ratio": (2.0, {}),
    },
    "generative_replay": {
        "labels": ("soft", GENERATOR),
        "importance": (0.7, GENERATOR),
        "steps": (3, GENERATOR),
        "batch_size": (6, GENERATOR),
        "learning_rate": (0.1, GENERATOR),
        "latent": (5, GENERATOR),
        "width": (6, GENERATOR),
    },
    "mas": {
        "weight": (0.01, {"weight": 0.1}),
        "variant": ("local", {"weight": 0.1}),
        "limit": (0.1, {"weight": 0.1}),
        "images": (2, {"weight": 0.1}),
    },
}
# what only counts once images have been seen above a threshold, and then others below it, or once
# a running mean turns the class of an answer
OF_MANY_STEPS = ["flexmatch.threshold", "flexmatch.warm_up"]
OF_MANY_STEPS += [f"{name}.align_momentum" for name in ("fixmatch", "flexmatch", "freematch")]
# what only the task after the next one is learnt by
LAYERS = {"teacher_layers": ["backbone.layers.2"], "student_layers": ["backbone.layers.2"]}
OTHERS = {  # the other one stays
    "teacher_layers": (["backbone.layers.9"], LAYERS),
    "student_layers": (["backbone.layers.9"], LAYERS),
}
METHODS |= {
    "kd": {"alpha": (0.1, {}), "temperature": (1.0, {}), "end": (0.0, {})},
    "decoupled": {
        "alpha": (5.0, {}),
        "beta": (1.0, {}),
        "temperature": (1.0, {}),
        "ramp_steps": (3, {}),
    },
    "logits": {"weight": (5.0, {})},
    "hints": {"weight": (5.0, {}), "alone_steps": (2, {"alone_steps": 1}), **OTHERS},
    "attention": {"weight": (5.0, {}), **OTHERS},
    "similarity": {"weight": (5.0, {}), **OTHERS},
    "relational": {"distance": (5.0, {}), "angle": (5.0, {})},
}
# of models that answer each pixel, which these do not: see tests/stages/test_segmentation.py
OF_PIXELS = {
    "structured": {
        "pixel": (1.0, {}),
        "pair": (1.0, {}),
        "patch": (1, {}),
        "holistic": (5.0, {}),
        **OTHERS,
    },
}
FAMILY = Methods.family | DISTILLATION
OF_MEMORY = ["ewc.tasks", "ewc.gamma"]
CONTINUAL = [
    "lwf",
    "lfl",
    "lwm",
    "piggyback",
    "l2_sp",
    "ewc",
    "mas",
    "bic",
    "replay",
    "generative_replay",
]  # in tasks alone


def models(pretrained: dict, another: dict) -> Iterator[tuple[str, Wire]]:
    """What the blocks of models have in common: network, first weights, fine-tuning, methods."""
    for place in TRAINED[:5]:
        what = place.split(".")[-1]
        network = {f"{place}.network": "small_cnn"} if what == "m1" else {}
        given = {f"{place}.pretrained": pretrained}
        also = {f"{place}.pretrained.sha256": another["sha256"]}
        wrong = "is another file: its sha256 is"
        both = "a name and a file are given"
        yield f"{place}.network", Wire(what, "wide_cnn", watch=weights)
        yield f"{place}.width", Wire(what, 0.5, network, watch=weights)
        yield f"{place}.pretrained.file", Wire(what, another["file"], given, also, weights)
        yield f"{place}.pretrained.sha256", Wire(what, another["sha256"], given, watch=wrong)
        yield f"{place}.pretrained.weights", Wire(what, "DEFAULT", given, watch=both)
        for key, other in FINE_TUNE.items():
            given = {f"{place}.fine_tune": {"steps": 2, "learning_rate": 0.05, "image_size": 0}}
            yield f"{place}.fine_tune.{key}", Wire(what, other, given, watch=weights)
    for place in ["teacher", "generations.g1", "baselines.b1", "distilled.d1", "tasks.t1"]:
        what = place.split(".")[-1]
        for name, options in METHODS.items():
            if name in CONTINUAL and place != "tasks.t1":
                continue
            if name in DISTILLATION and place != "distilled.d1":
                continue
            of = FAMILY[name]
            for key, (other, given) in options.items():
                beside = dict.fromkeys(of.needs, {})
                if what == "d1" and name not in DISTILLATION:
                    beside = {"kd": {}}
                block = {f"{place}.methods": {name: given} | beside}
                if "class" not in of.scenarios:
                    block[f"{place}.scenario"] = of.scenarios[0]
                if f"{name}.{key}" in OF_MANY_STEPS:
                    block[f"{place}.training"] = {"steps": 40, "unlabelled_ratio": 8}
                watch = memory if f"{name}.{key}" in OF_MEMORY else weights
                yield f"{place}.methods.{name}.{key}", Wire(what, other, block, watch=watch)
    for name, options in OF_PIXELS.items():
        for key, (other, _) in options.items():
            refused = Wire("d1", other, watch="is not for classification")
            yield f"distilled.d1.methods.{name}.{key}", refused


# --- the other blocks -------------------------------------------------------------------------

UNMEASURED = ["generations", "meta_pseudo_labels", "ensembles", "specialists", "tasks"]
MEASURED = dict.fromkeys(UNMEASURED, {})
REPORT = {
    "final": Wire("report", "b1", MEASURED, watch=ships),
    "report.test": Wire("report", False, MEASURED, watch=splits_read),
    "report.register": Wire("report", False, MEASURED, watch=registered),
    "report.keeps": Wire("report", 1e-6, MEASURED | {"final": "d1"}, {}, watch=ships),
}
LABELS = {
    "transforms": ["identity", "flip"],
    "ood_filter": "energy",
    "threshold": 0.9,
    "align": "uniform",
    "share": 0.3,
    "temperature": 2.0,
    "kind": "hard",
    "balance": 5,
}
PHOTOS = {"source": "folder", "root": "photos", "classes": ["a", "b"], "labels_per_class": 2}
PHOTOS |= {"val": 0.3, "test": 0.3}
BROKEN = PHOTOS | {"root": "broken", "on_bad_image": "skip"}
LEAKY = PHOTOS | {"root": "leaky", "test": 0, "on_duplicate": "remove"}
DATA = {
    "source": Wire("base", "folder", also=PHOTOS),
    "root": Wire("base", "others", PHOTOS),
    "unlabelled": Wire("base", ["crowd"], PHOTOS),
    "manifest": Wire("base", ["labels.csv"], PHOTOS | {"unlabelled": ["crowd"]}),
    "size": Wire("base", 4, PHOTOS),
    "classes": Wire("base", [0, 1, 2]),
    "labels_per_class": Wire("base", 4),
    "val": Wire("base", 0.2),
    "test": Wire("base", 0.2),
    "fold": Wire("base", 1),
    "on_bad_image": Wire("base", "error", BROKEN, watch="is no image of the formats"),
    "on_duplicate": Wire("base", "error", LEAKY, watch="among the training images"),
    "seed": Wire("base", 1),
}
STUDENT = {
    "teacher": Wire("labels", "b1", watch=labels),
    "init": Wire("g1", "teacher", watch=weights),
}
PAIR = {
    "teacher": Wire("m1", "b1"),
    "init": Wire("m1", "teacher"),
    "feedback": Wire("m1", "inner_product"),
    "labels": Wire("m1", "soft"),
    "scale": Wire("m1", "sum"),
    "baseline_decay": Wire("m1", 0.1),
    "student_wait": Wire("m1", 1),
    "teacher_learning_rate": Wire("m1", 0.1),
    "reduced": Wire("m1", True),
    "calibrator_width": Wire("m1", 64, {"reduced": True}),
}
UDA = [(key, row) for key, row in METHODS["uda"].items() if key != "mixup"]
PAIR |= {f"uda.{key}": Wire("m1", other, {"uda": given}) for key, (other, given) in UDA}
PAIR["uda.mixup"] = Wire("m1", 0.75, watch="the teacher would label mixtures")
ENSEMBLE = {
    "first": Wire("e1", "r1"),
    "second": Wire("e1", "r1"),
    "mean": Wire("e1", "geometric", watch=val_loss),
    "weights": Wire("e1", "val_acc"),
}
HALVES = [["0", "1", "2", "3"], ["4", "5", "6", "7"]]
SPECIALISTS = {
    "teacher": Wire("s1", "b1"),
    "num": Wire("s1", 2),
    "subsets": Wire("s1", [["0", "1"], ["2", "3"]]),
    "generalist": Wire("s1", False, {"subsets": HALVES}),
    "active": Wire("s1", 3, watch=val_loss),
    "soft": Wire("s1", 0.0),
    "images": Wire("s1", "labelled"),
    "init": Wire("s1", "scratch"),
}
DISTILLED = {
    "teacher": Wire("d1", "b1"),
    "images": Wire("d1", "labelled"),
    "transforms": Wire("d1", ["identity", "flip"]),
}
# in scenario `class` what was learnt in so few steps calls every image old
BY_ITSELF = {"tasks.t1.scenario": "task", "tasks.t1.label_with": "self"}
TASK = {
    "base": Wire("t1", "b1"),
    "scenario": Wire("t1", "task", watch=accuracy),
    "classes": Wire("task", [9, 8], watch=images),
    "labels_per_class": Wire("task", 4, watch=images),
    "ce_over": Wire("t1", "all"),
    "old_heads": Wire("t1", "frozen"),
    "joint": Wire("t1", True),
    "label_with": Wire("t1", "self", {"scenario": "task"}),
}
OF_NO_TASK = {"classes", "labels_per_class", "fold", "seed"}  # keys of `data`


def brought(teacher: dict, b1: dict) -> Iterator[tuple[str, Wire]]:
    """Models taken as they are, each in the place of the other."""
    for place, other, weights_of in (("teacher", "b1", b1), ("baselines.b1", "teacher", teacher)):
        block = {"folder": f"models/{other}", "sha256": weights_of["sha256"]}
        spec = {f"{place}": SMALL_MODEL | {"from": block}}
        what = place.split(".")[-1]
        yield f"{place}.from.folder", Wire(what, "models/r1", spec, watch="is another model")
        yield f"{place}.from.sha256", Wire(what, "0" * 64, spec, watch="is another model")


def task_data() -> Iterator[tuple[str, Wire]]:
    """The keys of `data` that a task may state itself."""
    for key, wire in DATA.items():
        if key in OF_NO_TASK:
            continue
        moved = [_of_task(values) for values in (wire.given, wire.also)]
        yield f"tasks.t1.data.{key}", Wire("task", wire.other, *moved, wire.watch or images)


def _of_task(values: dict) -> dict:
    """Keys of `data` where a task states them."""
    own = {k: f"tasks.t1.{k}" for k in OF_NO_TASK}
    return {own.get(k, f"tasks.t1.data.{k}"): v for k, v in values.items()}


def below(place: str, table: dict[str, Wire], watch: Callable) -> Iterator[tuple[str, Wire]]:
    """The rows of a block by their whole names; `watch` where a row does not say."""
    for key, wire in table.items():
        given = {f"{place}.{k}": value for k, value in wire.given.items()}
        also = {f"{place}.{k}": value for k, value in wire.also.items() if k != key}
        yield f"{place}.{key}", Wire(wire.what, wire.other, given, also, wire.watch or watch)


def wires(pretrained: dict, another: dict) -> dict[str, Wire]:
    """Every key of the schema.

    Args:
        pretrained, another: the blocks of two files of weights.
    """
    keys = {"seed": Wire("teacher", 1, watch=weights), **REPORT}
    keys |= dict(below("data", DATA, images))
    for place in ("labels", "generations.g1.labels"):
        keys |= {f"{place}.{key}": Wire("labels", v, watch=labels) for key, v in LABELS.items()}
        given = {f"{place}.ood_filter": "threshold"}
        keys[f"{place}.ood_keep"] = Wire("labels", 0.5, given, watch=labels)
    keys |= dict(below("generations.g1", STUDENT, weights))
    keys |= dict(below("meta_pseudo_labels.m1", PAIR, weights))
    keys |= dict(below("ensembles.e1", ENSEMBLE, weights))
    keys |= dict(below("specialists.s1", SPECIALISTS, weights))
    keys |= dict(below("distilled.d1", DISTILLED, weights))
    keys |= dict(below("tasks.t1", TASK, weights)) | dict(task_data())
    rule = "tasks.t1.labels"
    filters = {"ood_keep": {f"{rule}.ood_filter": "threshold"}}
    filters["ood_filter"] = {f"{rule}.ood_keep": 0.3}
    for key, value in (LABELS | {"ood_keep": 0.5}).items():
        given = BY_ITSELF | filters.get(key, {})
        keys[f"{rule}.{key}"] = Wire("t1", value, given, watch=weights)
    keys |= dict(brought(pretrained, another))
    return keys | dict(models(pretrained, another)) | dict(training(pretrained))
