"""Meta Pseudo Labels from a teacher on disk to two models: the student, and what its teacher
became."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline import checkpoint, evaluate, machine, randomness
from pipeline.data import tasks
from pipeline.data.batches import Stream
from pipeline.data.store import Dataset
from pipeline.errors import UserError
from pipeline.fit import finish, images_seen, look_at, scores, within_reach, write
from pipeline.learner import Learner
from pipeline.machine import Machine
from pipeline.meta import ConsistentTeacher, MetaPseudoLabels, Teacher
from pipeline.networks import Calibrator, Classifier
from pipeline.params.models import teacher_of
from pipeline.reduced import ReducedTeacher
from pipeline.self_training import Job, begin, complete, describe, streams
from pipeline.tracking import NullTracker
from pipeline.train import Row

Autocast = Callable[[], AbstractContextManager]


class Side(NamedTuple):
    """The teacher in a pair."""

    learner: Teacher
    parts: dict[str, Stream]  # what a step of the pair draws
    card: dict  # of the model that the teacher becomes
    look: Callable[[Learner], Row]  # at val, in training
    write: Callable[[list[Row]], dict]  # the model, given its curve; gives the card as written


def learn_with_teacher(job: Job, stage: str, tracker: NullTracker) -> tuple[dict, dict]:
    """Train both; write `models/<name>/` and `models/<name>-teacher/`; returns their cards.

    The student is fine-tuned on labelled images at the end, if its params say so. Its card counts
    the images that went through either network.

    Raises:
        UserError: soft labels on a machine that compiles: nothing is differentiated twice there.
    """
    job = replace(job, pair=True)
    settings = machine.load()
    if settings.compile and job.spec.labels == "soft" and job.spec.feedback != "none":
        where = f"params.yaml (meta_pseudo_labels.{job.name}.labels)"
        what = "the gradient of soft labels is not known through `compile`"
        raise UserError(where, what, "set compile: false on this machine, or use labels: hard")
    device = machine.device(settings)
    network, card = begin(job, describe(job), device)
    autocast = machine.suit(settings, network, checkpoint.pixels(card))
    side = (reduced if job.spec.reduced else whole)(job, card, settings)
    pair = MetaPseudoLabels(network, job.training, job.spec, side.learner, autocast)
    card["images_seen"] = side.card["images_seen"] + students(job, side.parts)
    look = look_at(card, device)
    written: list[dict] = []

    def look_at_both(pair: Learner) -> Row:
        # the step is made: its rate stands in the optimiser
        rate = {"learning_rate": pair.teacher.optimizer.param_groups[0]["lr"]}
        theirs = rate | side.look(pair.teacher)
        return look(pair) | {f"teacher/{k}": v for k, v in theirs.items()}

    def beside(history: list[Row]) -> None:
        written.append(side.write([of_teacher(row) for row in history]))

    student = complete(job, pair, side.parts, card, look_at_both, stage, settings, tracker, beside)
    return student, written[0]


def students(job: Job, parts: dict[str, Stream]) -> int:
    """Images that go through the student: unlabelled ones to learn from, labelled ones to measure
    its progress by."""
    measured = {"loss_difference": 2, "inner_product": 1, "none": 0}[job.spec.feedback]
    if job.spec.labels == "soft":
        measured = min(measured, 1)
    steps, learning = job.training.steps, job.training.steps - job.spec.student_wait
    return steps * parts["unlabelled"].num + learning * measured * parts["labelled"].num


def whole(job: Job, student: dict, settings: Machine) -> Side:
    """A teacher that is trained on as it is, beside the student of that card."""
    [parent] = job.parents
    device = machine.device(settings)
    teacher, theirs = checkpoint.load(Path("models") / parent, device)
    autocast = machine.suit(settings, teacher, checkpoint.pixels(theirs))
    parts = streams(job, settings, device)
    if settings.compile:
        teacher.compile()
    learner = ConsistentTeacher(teacher, job.training, job.spec, autocast)
    card = corrected(student, theirs, parent, images_seen(parts, job.training.steps))
    look = look_at(card, device)
    return Side(learner, parts, card, look, partial(finish, learner, card, look))


def reduced(job: Job, student: dict, settings: Machine) -> Side:
    """A teacher that answers each image once, and the calibrator that is trained on its answers.
    The teacher itself is not there in training; it is read again when the model is written."""
    [parent] = job.parents
    device = machine.device(settings)
    parts = streams(job, settings, device)
    del parts["weak"]
    theirs, width = checkpoint.read_card(Path("models") / parent), job.spec.calibrator_width
    card = corrected(student, theirs, parent, sum(len(stream) for stream in parts.values()))
    card["network"] = theirs["network"] | {"calibrator": width}
    [val] = tasks.known(card, "val")
    answers = answered(parent, job.dataset, settings)
    at_val = answers.pop("val")
    torch.manual_seed(randomness.torch_seed(job.params.seed, card["name"], "init"))
    calibrator = Calibrator(at_val.shape[1], width).to(device)
    learner = ReducedTeacher(calibrator, job.training, job.spec, answers)

    @torch.inference_mode()
    def look(learner: Learner) -> Row:
        return scores(learner.weights(at_val.to(device)).cpu(), val.labels)

    def whole_again(history: list[Row]) -> dict:
        with at_hand(parent, settings) as (network, autocast):
            network.calibrator = learner.weights
            metrics = scores(evaluate.infer(network, val.images, autocast), val.labels)
            return write(network, card | {"metrics": metrics}, history)

    return Side(learner, parts, card, look, whole_again)


def answered(parent: str, dataset: Dataset, settings: Machine) -> dict[str, Tensor]:
    """The logits (M, K) of all images of the splits, as they are stored, without noise."""
    found = {}
    with at_hand(parent, settings) as (teacher, autocast):
        for split in ("labelled", "unlabelled", "val"):
            logits = evaluate.infer(teacher, dataset.array(split), autocast)
            found[split] = torch.as_tensor(
                within_reach(logits.numpy(), settings, machine.device(settings))
            )
    return found


@contextmanager
def at_hand(parent: str, settings: Machine) -> Iterator[tuple[Classifier, Autocast]]:
    """A model for as long as it takes, and the threads that suit it."""
    threads = torch.get_num_threads()
    network, card = checkpoint.load(Path("models") / parent, machine.device(settings))
    try:
        yield network, machine.suit(settings, network, checkpoint.pixels(card))
    finally:
        torch.set_num_threads(threads)


def corrected(student: dict, teacher: dict, parent: str, asked: int) -> dict:
    """The card of what the teacher became."""
    kept = ("network", "heads", "image_shape", "normalisation")
    shared = ("data", "seed", "training", "model")
    return {
        **{key: teacher[key] for key in kept},
        **{key: student[key] for key in shared},
        "name": teacher_of(student["name"]),
        "parents": {parent: teacher["sha256"]},
        "images_seen": asked,
    }


def of_teacher(row: Row) -> Row:
    """What a row of the pair's curve says of the teacher."""
    own = {k.removeprefix("teacher/"): v for k, v in row.items() if k.startswith("teacher/")}
    shared = {"step": row["step"], "learning_rate": own.pop("learning_rate")}
    return shared | {"feedback": row["feedback"]} | own
