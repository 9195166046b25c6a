"""Models that were never trained, with answers from a generator, for tests of the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import torch
from conftest import tiny_values

from pipeline.params.schema import Params
from pipeline.report import measure

HEAD = "step,learning_rate,loss,val_acc,val_loss,"
HEAD += "feedback,feedback_positive,agreement,teacher/uda,teacher/val_acc\n"


def params(
    generations: dict,
    tasks: dict,
    final: str,
    classes: list[str],
    test=True,
    pairs=MappingProxyType({}),
) -> Params:
    """The tiny params with another lineage: `{"g1": "teacher"}`, `{"t1": ("g1", ["8", "9"])}`,
    pairs `{"m1": {"teacher": "g1"}}`."""
    values = tiny_values()
    values["data"]["classes"] = classes
    values["generations"] = {
        name: {"teacher": parent, "network": "small_cnn"} for name, parent in generations.items()
    }
    values["tasks"] = {
        name: {
            "base": base,
            "scenario": "class",
            "classes": new,
            "labels_per_class": 10,
            "methods": ["lwf"],
            "lwf": {"weight": 1.0, "temperature": 2.0, "warmup_steps": 1},
        }
        for name, (base, new) in tasks.items()
    }
    values |= {"baselines": {}, "meta_pseudo_labels": dict(pairs)}
    values["final"] = final
    values["report"]["test"] = test
    return Params.model_validate(values)


def models(
    params: Params,
    images=(1, 8, 8),
    each=4,
    absent: tuple[str, ...] = (),
    seed=0,
    unlabelled: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, measure.Measured]:
    """Every model of params, right on about two images in three.

    Args:
        images: (C, H, W).
        each: images of a class on a split.
        absent: classes without any image.
        unlabelled: share right of the unlabelled images, of models where it is known.
    """
    rng = np.random.default_rng(seed)
    pictures: dict = {}
    found = {
        name: _model(params, name, rng, pictures, images, each, absent) for name in params.models()
    }
    return {name: replace(m, unlabelled=unlabelled.get(name)) for name, m in found.items()}


def _model(params, name, rng, pictures, shape, each, absent) -> measure.Measured:
    heads = [{"task": "base", "classes": params.data.classes}]
    chain = [model for model in params.chain(name) if model in params.tasks]
    heads += [{"task": model, "classes": params.tasks[model].classes} for model in chain]
    parent = params.parent(name)
    card = {
        "name": name,
        "heads": heads,
        "parents": {parent: "0" * 64} if parent else {},
        "network": {"name": "small_cnn"},
        "num_parameters": 287_912,
        "images_seen": 57_600,
        "sha256": "ab" * 32,
    }
    classes = [c for head in heads for c in head["classes"]]
    splits = ["val", "test"] if params.report.test else ["val"]
    seen = {s: _seen(heads, classes, rng, pictures, s, shape, each, absent) for s in splits}
    return measure.Measured(card, classes, seen)


def _seen(heads, classes, rng, pictures, split, shape, each, absent) -> measure.Seen:
    rows = [(h["task"], c) for h in heads for c in h["classes"] if c not in absent] * each
    rows.sort(key=lambda row: [h["task"] for h in heads].index(row[0]))
    labels = np.array([classes.index(c) for _, c in rows])
    task = np.array([t for t, _ in rows])
    for t, _ in rows:
        if (split, t) not in pictures:
            size = (int((task == t).sum()), *shape)
            pictures[split, t] = rng.integers(0, 256, size, dtype=np.uint8)
    logits = rng.normal(size=(len(rows), len(classes)))
    logits[np.arange(len(rows)), labels] += rng.choice([0, 6], p=[0.34, 0.66], size=len(rows))
    told = np.full_like(logits, -np.inf)
    start = 0
    for head in heads:
        mine = task == head["task"]
        stop = start + len(head["classes"])
        told[mine, start:stop] = logits[mine, start:stop]
        start = stop
    return measure.Seen(
        images=torch.from_numpy(np.concatenate([pictures[split, t] for t in dict.fromkeys(task)])),
        logits=torch.from_numpy(logits).float(),
        told=torch.from_numpy(told).float(),
        labels=torch.from_numpy(labels),
        task=task,
    )


def quality(params: Params, truth=True) -> dict[str, measure.LabelQuality]:
    """Pseudo-labels of every generation."""
    size = len(params.data.classes)
    images = np.arange(size) % 5 + 3
    found = measure.LabelQuality(
        kept_share=0.5,
        rows=7 * size,
        accuracy=0.9 if truth else None,
        per_class=np.full(size, 7),
        images=images,
        right=images - 1 if truth else None,
    )
    return dict.fromkeys(params.generations, found)


def write_curves(folder, names) -> None:
    """`models/<name>/curves.csv` for each."""
    for number, name in enumerate(names):
        path = folder / "models" / name / "curves.csv"
        path.parent.mkdir(parents=True)
        pair = "0.01,0.6,0.7,2,0.7"
        rows = [f"{s},0.1,{1 / (s + number)},{0.5 + s / 10},{1 / s},{pair}" for s in (1, 2, 3)]
        path.write_text(HEAD + "\n".join(rows) + "\n")
