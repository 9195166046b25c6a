"""A model from labels and from a teacher's answers to the images of each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.core import machine
from pipeline.core.errors import UserError
from pipeline.data import tasks
from pipeline.data.batches import Stream
from pipeline.labelling.transforms import TRANSFORMS
from pipeline.methods.distillation.taught import Taught
from pipeline.networks import checkpoint
from pipeline.networks.classifier import Classifier
from pipeline.running.tracker import NullTracker
from pipeline.students.learn import Job, begin, depends, describe, end
from pipeline.training import joint
from pipeline.training.fit import Autocast, Trainings, evaluation, sizes
from pipeline.training.learner import Learner
from pipeline.training.method import Blocks, Method, Setting, build, start
from pipeline.training.teaching import Teaching

Streams = Mapping[str, Stream]


def distil(job: Job) -> dict:
    """Train a student of a model's answers and write `models/<name>/`; returns its card.

    Raises:
        UserError: the teacher knows other classes than the images, or is told the task of each; a
            layer that a network does not have; see `begin` and `Trainings.fit`.
    """
    training, run = job.config.training, job.run
    [parent] = job.parents
    teacher, theirs = checkpoint.load(Path("models") / parent, run.device)
    check(job, theirs)
    network, card = begin(job, describe_of(job, theirs))
    methods = build(job.config.options.methods)
    every = slice(0, sum(len(head["classes"]) for head in card["heads"]))
    setting = Setting(
        run.name,
        run.seed,
        network,
        Blocks([], every, slice(None)),
        training,
        job.images,
        {parent: teacher},
        methods,
        teaching=asked(teacher, job.config.options.transforms),
    )
    streams = {**given(job, card), **start(methods, setting)}
    autocast = machine.configure(run.machine, network, checkpoint.pixels(card))
    recorded = record(job, setting, streams)
    with Trainings(replace(run, depends=depends(job, card))) as trainings:
        asks = not recorded
        seen = recorded + learn_alone(trainings, setting, streams, card, autocast, asks)
        others = {name: method for name, method in methods.items() if not method.alone_steps}
        count_passes(others, asks)
        learner = Learner(network, training, {}, autocast, others)
        card["images_seen"] = seen + learner.images_seen(sizes(streams))
        history = trainings.fit(learner, streams, evaluation(card, run.device))
        clean = joint.labelled(job.images, card, job.images.weak)
        return end(job, trainings, learner, card, history, clean)


def asked(teacher: Classifier, names: Sequence[str]) -> Teaching:
    """The teacher, answering under transforms of these names."""
    others = [TRANSFORMS[name] for name in sorted(names) if name != "identity"]
    return Teaching(teacher, others, "identity" in names)


def check(job: Job, teacher: dict) -> None:
    """Refuse a teacher whose answers are of other classes, or hang on the task of an image.

    Raises:
        UserError: naming the teacher's card.
    """
    where, name = f"models/{teacher['name']}/card.json", teacher["name"]
    if tasks.is_task_known(teacher):
        what = f"'{name}' is told the task of each image, which nobody tells '{job.config.name}'"
        raise UserError(where, what, "distil a model of scenario: class")
    if teacher["heads"][0]["classes"] != job.dataset.classes:
        what = f"knows {teacher['heads'][0]['classes']}, {job.dataset.folder} has "
        raise UserError(where, f"{what}{job.dataset.classes}", f"train '{name}' again")


def describe_of(job: Job, teacher: dict) -> dict:
    """The card of the student before it is trained: with the teacher's heads, plain ones, and the
    tasks behind them."""
    everything = job.config.options.images == "all"
    splits = ["labelled", "val"] + ["unlabelled"] * everything
    known = [task for task, _ in tasks.learnt(teacher)]
    digests = {
        task: {split: data.digest(split) for split in splits}
        for task, data in ((task, tasks.dataset(task)) for task in known)
    }
    heads = [{key: head[key] for key in ("task", "classes")} for head in teacher["heads"]]
    card = describe(job, unlabelled=everything) | {"heads": heads, "data": digests}
    return card | ({"tasks": teacher["tasks"]} if "tasks" in teacher else {})


def given(job: Job, card: dict) -> dict[str, Stream]:
    """The images that teacher and student see: labelled ones, and perhaps the others."""
    streams = joint.labelled(job.images, card)
    if job.config.options.images == "all":
        streams |= joint.unlabelled(job.images, card)
    return streams


def record(job: Job, setting: Setting, streams: Streams) -> int:
    """Have the teacher answer each image once where no view changes one, and no method does;
    returns the images that it was asked."""
    methods = setting.methods.values()
    still = all(job.images.still(stream.view) for stream in streams.values())
    if not still or not all(isinstance(method, Taught) for method in methods):
        return 0
    return setting.teaching.record(streams, job.run.machine)


def count_passes(methods: Mapping[str, Method], asks: bool) -> None:
    """Let the first of the methods that learn from the teacher count its pass, if it makes one."""
    taught = [method for method in methods.values() if isinstance(method, Taught)]
    for place, method in enumerate(taught):
        method.passes = method.teaching.passes if asks and not place else 0


def learn_alone(
    trainings: Trainings,
    setting: Setting,
    streams: Streams,
    card: dict,
    autocast: Autocast,
    asks: bool,
) -> int:
    """The first training of methods that ask for one, by their losses alone; returns the images
    that went through a network in it.

    Args:
        asks: whether the teacher answers at each step.
    """
    methods = {name: method for name, method in setting.methods.items() if method.alone_steps}
    if not methods:
        return 0
    count_passes(methods, asks)
    steps = max(method.alone_steps for method in methods.values())
    changes = {"steps": steps, "ema": 0.0, "keep": "last", "evaluate_every": steps}
    warmup = min(setting.training.warmup_steps, steps)
    recipe = setting.training.model_copy(update={**changes, "warmup_steps": warmup})
    learner = Learner(setting.network, recipe, {}, autocast, methods)
    unasked = {name: replace(stream, targets=None) for name, stream in streams.items()}
    silent = replace(trainings.run, tracker=NullTracker())
    evaluate = evaluation(card, silent.device, judges=False)  # its head learns later
    trainings.fit(learner, unasked, evaluate, "alone", run=silent)
    learner.maps.close()
    return learner.images_seen(sizes(unasked))
