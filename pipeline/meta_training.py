"""Meta Pseudo Labels from a teacher on disk to two models: the student, and what its teacher
became."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline import checkpoint, machine
from pipeline.fit import finish, images_seen, look_at
from pipeline.learner import Learner
from pipeline.meta import MetaPseudoLabels
from pipeline.params.schema import teacher_of
from pipeline.self_training import Job, begin, complete, describe, streams
from pipeline.tracking import NullTracker
from pipeline.train import Row


def learn_with_teacher(job: Job, stage: str, tracker: NullTracker) -> tuple[dict, dict]:
    """Train both; write `models/<name>/` and `models/<name>-teacher/`; returns their cards.

    The student is fine-tuned on labelled images at the end, if its params say so. Its card counts
    the images that went through either network.
    """
    job = replace(job, pair=True)
    settings = machine.load()
    device = machine.device(settings)
    [parent] = job.parents
    teacher, theirs = checkpoint.load(Path("models") / parent, device)
    card, parts = describe(job), streams(job, settings, device)
    asked = images_seen(parts, job.training.steps)
    per_step = 2 * parts["labelled"].num + parts["unlabelled"].num  # the student's
    card["images_seen"] = asked + per_step * job.training.steps
    network, card = begin(job, card, device)
    autocast = machine.suit(settings, network, checkpoint.pixels(card))
    machine.suit(settings, teacher, checkpoint.pixels(theirs))
    pair = MetaPseudoLabels(network, job.training, job.spec, teacher, autocast)
    became = corrected(card, theirs, parent, asked)
    look, look_at_teacher = look_at(card, device), look_at(became, device)
    written: list[dict] = []

    def look_at_both(learner: Learner) -> Row:
        row = look(learner)
        if learner is pair:
            row |= {f"teacher/{k}": v for k, v in look_at_teacher(pair.teacher).items()}
        return row

    def beside(history: list[Row]) -> None:
        mine = [of_teacher(row) for row in history]
        written.append(finish(pair.teacher, became, look_at_teacher, mine))

    student = complete(job, pair, parts, card, look_at_both, stage, settings, tracker, beside)
    return student, written[0]


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
    return {key: row[key] for key in ("step", "learning_rate", "feedback")} | own
