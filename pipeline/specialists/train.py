"""Specialists trained one after another, and put into one model with their generalist."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from pipeline.core import machine, randomness
from pipeline.core.errors import UserError
from pipeline.data.batches import Stream
from pipeline.networks import checkpoint, evaluate
from pipeline.networks.classifier import Classifier
from pipeline.running.tracker import NullTracker
from pipeline.specialists.options import Specialists
from pipeline.specialists.subsets import confused
from pipeline.students.learn import Job
from pipeline.training.fit import Trainings, Val, scores, sizes, write
from pipeline.training.images import on
from pipeline.training.learner import Learner
from pipeline.training.loop import Row

DUSTBIN = "others"  # what a specialist calls all classes but its own
BUILT_FROM = ("name", "network", "heads", "image_shape", "normalisation")  # of a card


def specialise(job: Job) -> dict:
    """Train a specialist for each subset and write `models/<name>/`, which answers by all of them;
    returns its card.

    Raises:
        UserError: the teacher is not of one network or knows other classes than the images; a
            subset has all classes; see `Trainings.fit`.
    """
    run = job.run
    [parent] = job.parents
    teacher, theirs = checkpoint.load(Path("models") / parent, run.device)
    check(job, theirs)
    taught = Taught(job, teacher, theirs)
    subsets = subsets_of(job, taught)
    card = describe(job, theirs, subsets)
    val = Val(card, run.device)
    depends = {key: value for key, value in card.items() if key not in ("members", "generalist")}
    members, curves, seen = [], {}, taught.images_seen
    with Trainings(replace(run, depends=depends, tracker=NullTracker())) as trainings:
        for number, subset in enumerate(subsets):
            own = card["members"][number]
            specialist = begin(job, own, number, teacher)
            autocast = machine.configure(run.machine, specialist, checkpoint.pixels(own))
            streams = taught.streams(subset)
            learner = Learner(specialist, job.config.training, weights(job, streams), autocast)
            seen += learner.images_seen(sizes(streams))
            rows = trainings.fit(learner, streams, evaluation(val, subset), f"specialist{number}")
            members.append(corrected(learner.weights, streams))
            curves[f"specialist{number}"] = rows
        for own, rows in zip(card["members"], curves.values()):
            own["val_acc"] = rows[-1]["val_acc"]
        return finish(job, card | {"images_seen": seen}, teacher, members, curves)


def check(job: Job, teacher: dict) -> None:
    """Refuse a teacher that cannot be a generalist.

    Raises:
        UserError: it is several networks, has learnt a task, or knows other classes.
    """
    name, where = teacher["name"], f"models/{teacher['name']}/card.json"
    if "members" in teacher:
        what = f"'{name}' is several networks, and a specialist is one like its teacher"
        raise UserError(where, what, "name a model of one network")
    if [head["classes"] for head in teacher["heads"]] != [job.dataset.classes]:
        what = f"knows {checkpoint.classes(teacher)}, {job.dataset.folder} has "
        raise UserError(where, f"{what}{job.dataset.classes}", "name a model of the base task")


class Taught:
    """The images of a training, and what the teacher says of each, once, as it lies there.

    Attributes:
        probs: by split, (M, K), on the device.
        labels: the true ones of labelled images, the likeliest ones of others; int64 (M,).
        images_seen: images that went through the teacher.
    """

    def __init__(self, job: Job, teacher: Classifier, card: dict):
        self.job = job
        options, run = job.config.options, job.run
        splits = ["labelled", *["unlabelled"] * (options.images == "all")]
        if not job.dataset.num(splits[-1]):
            fix = "set images to labelled, or add images"
            raise UserError(str(job.dataset.folder), "there are no unlabelled images", fix)
        autocast = machine.configure(run.machine, teacher, checkpoint.pixels(card))
        said = {
            split: evaluate.infer(teacher, job.dataset.array(split), autocast) for split in splits
        }
        self.probs = {split: logits.softmax(1).to(run.device) for split, logits in said.items()}
        self.labels = {split: probs.argmax(1) for split, probs in self.probs.items()}
        self.labels["labelled"] = on(job.dataset.array("labelled", "label"), run.device)
        self.images_seen = sum(map(len, said.values()))

    def streams(self, subset: list[int]) -> dict[str, Stream]:
        """Half of each batch from the subset's classes, half from all others, of both splits; a
        stream without an image is left out."""
        job, streams = self.job, {}
        training = job.config.training
        nums = {"labelled": training.batch_size, "unlabelled": training.num_unlabelled}
        views = {"labelled": job.images.labelled_view, "unlabelled": job.images.strong}
        for split, probs in self.probs.items():
            targets = self.targets(split, subset)
            inside = torch.isin(self.labels[split], torch.tensor(subset, device=probs.device))
            half = nums[split] // 2
            for part, rows, num in (
                ("own", inside, half),
                ("others", ~inside, nums[split] - half),
            ):
                index = rows.nonzero()[:, 0]
                if len(index):
                    streams[f"{split}_{part}"] = Stream(
                        images=job.images.images(split),
                        targets=targets[index],
                        num=max(1, num),
                        view=views[split],
                        index=index.cpu().numpy(),
                        device=job.run.device,
                        soft=split == "unlabelled" or job.config.options.soft > 0,
                    )
        return streams

    def targets(self, split: str, subset: list[int]) -> Tensor:
        """(M, |S| + 1): the label and the teacher's answer, mixed; its answer alone without one."""
        probs = gathered(self.probs[split], subset)
        if split == "unlabelled":
            return probs
        soft, labels = self.job.config.options.soft, self.labels[split]
        hard = torch.eye(self.probs[split].shape[1], device=labels.device)[labels]
        return (1 - soft) * gathered(hard, subset) + soft * probs


def gathered(probs: Tensor, subset: list[int]) -> Tensor:
    """(N, K) -> (N, |S| + 1): the subset's columns, then all others together."""
    others = [column for column in range(probs.shape[1]) if column not in subset]
    return torch.cat([probs[:, subset], probs[:, others].sum(1, keepdim=True)], 1)


def subsets_of(job: Job, taught: Taught) -> list[list[int]]:
    """Those that are named, else those that the teacher confuses.

    Raises:
        UserError: a class that the images do not have, more subsets than classes, one that has all
            classes, experts that know not all.
    """
    options, classes, key = job.config.options, job.dataset.classes, job.config.key
    if not options.subsets:
        if options.num > len(classes):
            what = f"{options.num} subsets of {len(classes)} classes"
            raise UserError(f"{key}.num", what, f"set it to at most {len(classes)}")
        probs = torch.cat(list(taught.probs.values())).double().cpu().numpy()
        return confused(probs, options.num, job.run.seed, job.config.name)
    return named(options, classes, key)


def named(options: Specialists, classes: list[str], key: str) -> list[list[int]]:
    """The columns of the subsets that params.yaml names.

    Raises:
        UserError: see `subsets_of`.
    """
    where, known = f"{key}.subsets", ", ".join(classes)
    for subset in options.subsets:
        if strange := [name for name in subset if name not in classes]:
            raise UserError(where, f"there is no class '{strange[0]}'", f"use some of: {known}")
        if len(subset) == len(classes):
            raise UserError(where, "a subset has all classes", "leave some of them to the others")
    left = [name for name in classes if not any(name in subset for subset in options.subsets)]
    if left and not options.generalist:
        what = f"no expert knows {', '.join(left)}"
        raise UserError(where, what, "add a subset, or set generalist to true")
    return [[classes.index(name) for name in subset] for subset in options.subsets]


def describe(job: Job, teacher: dict, subsets: list[list[int]]) -> dict:
    """The card before anything is trained, with those of its members."""
    config, dataset, training = job.config, job.dataset, job.config.training
    options = config.options
    splits = ["labelled", "val"] + ["unlabelled"] * (options.images == "all")
    spec = {
        "name": config.network,
        "width": config.width,
        "stochastic_depth": training.stochastic_depth,
        "dropout": training.dropout,
        "image_size": training.image_size,
    }
    shape = {"image_shape": list(dataset.image_shape), "normalisation": teacher["normalisation"]}
    members = [
        {
            "name": f"{config.name}-{number}",
            "network": spec,
            "heads": [{"task": "base", "classes": [*named, DUSTBIN]}],
            **shape,
        }
        for number, named in enumerate([[dataset.classes[c] for c in own] for own in subsets])
    ]
    general = {key: teacher[key] for key in BUILT_FROM} if options.generalist else None
    sides = [own["network"]["image_size"] for own in [*members, *[general] * bool(general)]]
    return {
        "name": config.name,
        "network": {
            "name": "specialists",
            "width": 1.0,
            "image_size": max(sides),
            "active": options.active,
        },
        "generalist": general,
        "members": members,
        "subsets": subsets,
        "heads": [{"task": "base", "classes": dataset.classes}],
        **shape,
        "parents": dict(job.parents),
        "data": {"base": {split: dataset.digest(split) for split in splits}},
        "seed": config.seed,
        "training": training.model_dump(),
        "model": options.model_dump(exclude_none=True, exclude={"training", "teacher"}),
    }


def begin(job: Job, card: dict, number: int, teacher: Classifier) -> Classifier:
    """A specialist's network: a fresh head on fresh weights, or on its teacher's."""
    randomness.seed_torch(job.config.seed, job.config.name, "init", number)
    network = checkpoint.build(card).to(job.run.device)
    if job.config.options.init == "teacher":
        network.backbone.load_state_dict(teacher.backbone.state_dict())
    return network


def weights(job: Job, streams: Mapping[str, Stream]) -> dict[str, float]:
    """Of the parts' losses: both halves of a batch together weigh 1, those of the unlabelled images
    `unlabelled_weight`."""
    whole = {"labelled": 1.0, "unlabelled": job.config.training.unlabelled_weight}
    return {name: whole[name.partition("_")[0]] / 2 for name in streams}


def evaluation(val: Val, subset: list[int]):
    """What measures a specialist on val, where all other classes are one."""
    place = {column: number for number, column in enumerate(subset)}
    labels = torch.tensor([place.get(int(label), len(subset)) for label in val.labels])

    def measured(learner: Learner) -> Row:
        return scores(val.logits(learner.weights, learner.autocast), labels)

    return measured


def corrected(network: Classifier, streams: Mapping[str, Stream]) -> Classifier:
    """The specialist as it answers to images as they come, of which others are as many as there
    are, not every second: its dustbin's logit grows by log(n_others / n_own)."""
    own, others = (
        sum(len(stream) for name, stream in streams.items() if name.endswith(f"_{part}"))
        for part in ("own", "others")
    )
    with torch.no_grad():
        network.newest_head.bias[-1] += math.log(others / own)
    return network


def finish(
    job: Job,
    card: dict,
    teacher: Classifier,
    members: list[Classifier],
    curves: Mapping[str, list[Row]],
) -> dict:
    """Write the model that answers by all of them, with their curves; returns its card."""
    network = checkpoint.build(card)
    for built, member in zip(network.members, members):
        built.load_state_dict(member.state_dict())
    if network.generalist is not None:
        network.generalist.load_state_dict(teacher.state_dict())
    network.to(job.run.device).eval()
    autocast = machine.configure(job.run.machine, network, checkpoint.pixels(card))
    val = Val(card, job.run.device)
    metrics = scores(val.logits(network, autocast), val.labels)
    rows = beside(curves)
    rows[-1] |= metrics
    return write(network, card | {"metrics": metrics}, rows)


def beside(curves: Mapping[str, list[Row]]) -> list[Row]:
    """Curves of the same steps as one, its columns `<name>/<column>`."""
    rows = [{"step": row["step"]} for row in next(iter(curves.values()))]
    for name, own in curves.items():
        for row, values in zip(rows, own):
            row |= {f"{name}/{key}": value for key, value in values.items() if key != "step"}
    return rows
