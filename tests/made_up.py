"""Models that were never trained, with answers from a generator, for tests of the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch

from pipeline.core.lineage import Entry, Lineage, corrected
from pipeline.data import tasks
from pipeline.labelling.confidence import Confidence
from pipeline.report import gate
from pipeline.report.answers import Answers
from pipeline.report.experiment import Experiment
from pipeline.report.facts import Facts
from pipeline.report.label_quality import LabelQuality
from pipeline.report.measure import Measured
from pipeline.report.metrics import metrics
from pipeline.report.results import Results

HEAD = "step,learning_rate,loss,val_acc,val_loss,"
HEAD += "feedback,feedback_positive,agreement,teacher/uda,teacher/val_acc\n"
NONE: Mapping = MappingProxyType({})


@dataclass(frozen=True)
class Made(Experiment):
    """An experiment that knows its classes, which in truth stand in the cards of its models."""

    classes: list[str]
    new_classes: dict[str, list[str]]


def experiment(
    generations: Mapping[str, str],
    tasks: Mapping[str, tuple[str, list[str]]],
    final: str,
    classes: list[str],
    test=True,
    pairs: Mapping[str, str] = NONE,
    baselines: Iterable[str] = (),
    methods: Mapping[str, tuple[str, ...]] = NONE,
    distilled: Mapping[str, str] = NONE,
    ensembles: Mapping[str, tuple[str, str]] = NONE,
) -> Made:
    """A lineage of generations `{"g1": "teacher"}`, tasks `{"t1": ("g1", ["8", "9"])}` that learn
    by `lwf`, pairs `{"m1": "g1"}`, baselines, models distilled `{"d1": "g1"}` by `kd` and ensembles
    `{"e1": ("g1", "b1")}`; `methods` of other models by name."""
    entries = [Entry("teacher", "teacher", None, "teacher")]
    entries += [Entry(n, "generations", p, f"student@{n}") for n, p in generations.items()]
    for name, parent in pairs.items():
        stage = f"meta_pseudo_labels@{name}"
        entries += [Entry(n, "meta_pseudo_labels", parent, stage) for n in (name, corrected(name))]
    entries += [Entry(n, "baselines", None, f"baseline@{n}") for n in baselines]
    entries += [Entry(n, "tasks", p, f"extend@{n}", ("lwf",)) for n, (p, _) in tasks.items()]
    entries += [
        Entry(name, "ensembles", first, f"ensemble@{name}", others=(second,))
        for name, (first, second) in ensembles.items()
    ]
    entries += [Entry(n, "distilled", p, f"distill@{n}", ("kd",)) for n, p in distilled.items()]
    entries = [e._replace(methods=methods.get(e.name, e.methods)) for e in entries]
    new = {name: names for name, (_, names) in tasks.items()}
    params = {"seed": 0, "data": {"classes": classes}, "final": final}
    lineage = Lineage(entries, final)
    return Made(lineage, "digits", 0, 0, test, False, 0.97, params, {}, classes, new)


def models(
    experiment: Made,
    images=(1, 8, 8),
    each=4,
    absent: tuple[str, ...] = (),
    seed=0,
    unlabelled: Mapping[str, float] = NONE,
) -> dict[str, Measured]:
    """Every model of an experiment, right on about two images in three.

    Args:
        images: (C, H, W).
        each: images of a class on a split.
        absent: classes without any image.
        unlabelled: share right of the unlabelled images, of models where it is known.
    """
    rng = np.random.default_rng(seed)
    pictures: dict = {}
    made = {
        name: _model(experiment, name, rng, pictures, images, each, absent)
        for name in experiment.lineage
    }
    return {name: replace(m, unlabelled=unlabelled.get(name)) for name, m in made.items()}


def _model(experiment, name, rng, pictures, shape, each, absent) -> Measured:
    lineage = experiment.lineage
    heads = [{"task": "base", "classes": experiment.classes}]
    chain = [model for model in lineage.chain(name) if model in experiment.new_classes]
    heads += [{"task": model, "classes": experiment.new_classes[model]} for model in chain]
    parent = lineage[name].parent
    card = {
        "name": name,
        "heads": heads,
        "parents": {parent: "0" * 64} if parent else {},
        "network": {"name": "small_cnn"},
        "num_parameters": 71_978 if lineage[name].block == "distilled" else 287_912,
        "images_seen": 57_600,
        "sha256": "ab" * 32,
        "metrics": {"temperature": 1.5},
    }
    if chain:
        card["tasks"] = [[model, model] for model in chain]
        card["metrics"] |= {"score": 0.7, "score_old": 0.8, "score_new": 0.6, "score_step": 100}
    if lineage[name].block == "meta_pseudo_labels":
        card["model"] = {"feedback": "loss_difference"}
    classes = [c for head in heads for c in head["classes"]]
    splits = ["val", "test"] if experiment.test else ["val"]
    answers = {s: _answers(heads, classes, rng, pictures, s, shape, each, absent) for s in splits}
    return Measured(card, classes, answers)


def _answers(heads, classes, rng, pictures, split, shape, each, absent) -> Answers:
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
    known = np.full_like(logits, -np.inf)
    start = 0
    for head in heads:
        mine = task == head["task"]
        stop = start + len(head["classes"])
        known[mine, start:stop] = logits[mine, start:stop]
        start = stop
    return Answers(
        images=torch.from_numpy(np.concatenate([pictures[split, t] for t in dict.fromkeys(task)])),
        logits=torch.from_numpy(logits).float(),
        task_known=torch.from_numpy(known).float(),
        labels=torch.from_numpy(labels),
        task=task,
    )


def quality(experiment: Made, truth=True) -> dict[str, LabelQuality]:
    """Pseudo-labels of every generation."""
    size = len(experiment.classes)
    images = np.arange(size) % 5 + 3
    labels = LabelQuality(
        kept_share=0.5,
        rows=7 * size,
        per_class=np.full(size, 7),
        images=images,
        known=images if truth else 0 * images,
        right=images - 1 if truth else 0 * images,
        confidence=Confidence([0.5, 0.75, 1.0], [0.44, 0.7, 0.92]),
    )
    return dict.fromkeys(experiment.lineage.of("generations"), labels)


def results(experiment: Made, champion=None, truth=True, **options) -> Results:
    """Made-up models with what the gate says of them; options as `models` has them."""
    measured, labels = models(experiment, **options), quality(experiment, truth)
    chain = experiment.lineage.chain(experiment.lineage.final)
    verdict = gate.decide(chain, gate.compare(chain, measured))
    numbers = metrics(measured, labels)
    names = {"base": experiment.classes, **experiment.new_classes}
    data = [facts(name, classes) for name, classes in names.items()]
    return Results(experiment, measured, labels, numbers, verdict, data, champion)


def facts(name: str, classes: list[str]) -> Facts:
    """Of a data set of which one class has no test image."""
    absent = {"test": classes[-1:]}
    labels = [3] * len(classes)
    return Facts(
        name,
        classes,
        [sum(labels), 50, 20, 30],
        labels,
        7,
        absent,
        ["3 files are odd"],
        f"{name}.html",
    )


def write_curves(folder, measured: Mapping[str, Measured]) -> None:
    """`models/<name>/curves.csv` for each."""
    for number, (name, model) in enumerate(measured.items()):
        learnt = [task for task, _ in tasks.learnt(model.card)]
        each = learnt if len(learnt) > 1 else []
        header = HEAD.strip() + "".join(f",val_acc/{task}" for task in each) + "\n"
        path = folder / "models" / name / "curves.csv"
        path.parent.mkdir(parents=True)
        pair = "0.01,0.6,0.7,2,0.7" + len(each) * ",0.5"
        rows = [f"{s},0.1,{1 / (s + number)},{0.5 + s / 10},{1 / s},{pair}" for s in (1, 2, 3)]
        path.write_text(header + "\n".join(rows) + "\n")
