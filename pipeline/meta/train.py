"""Meta Pseudo Labels from a teacher on disk to two models: the student, and what its teacher
became."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.core import machine, randomness
from pipeline.core.errors import UserError
from pipeline.core.lineage import corrected
from pipeline.core.machine import Machine
from pipeline.data import tasks
from pipeline.data.batches import Stream
from pipeline.meta.feedback import InnerProduct, LossDifference
from pipeline.meta.options import MetaPseudoLabels
from pipeline.meta.pair import ConsistentTeacher, Pair, Teacher
from pipeline.meta.reduced import ReducedTeacher
from pipeline.meta.soft import GradientOfLabels, Probabilities
from pipeline.networks import checkpoint, evaluate
from pipeline.networks.calibrator import Calibrator
from pipeline.networks.classifier import Classifier
from pipeline.students.learn import Job, begin, depends, describe, end, labelled
from pipeline.training.fit import Evaluate, Trainings, evaluation, scores, sizes, write
from pipeline.training.images import within_reach
from pipeline.training.learner import Learner
from pipeline.training.loop import Row

Autocast = Callable[[], AbstractContextManager]
PAIRS = {  # by what the labels are and what corrects their teacher
    ("hard", "loss_difference"): LossDifference,
    ("hard", "inner_product"): InnerProduct,
    ("hard", "none"): Pair,
    ("soft", "gradient"): GradientOfLabels,
    ("soft", "none"): Probabilities,
}


class PairTeacher(NamedTuple):
    """The teacher in a pair."""

    learner: Teacher
    streams: dict[str, Stream]  # what a step of the pair draws
    card: dict  # of the model that the teacher becomes
    evaluate: Evaluate  # on val, in training
    complete: Callable[[], Classifier]  # the network that ships


def learn_with_teacher(job: Job) -> tuple[dict, dict]:
    """Train both; write `models/<name>/` and `models/<name>-teacher/`; returns their cards.

    The student is fine-tuned on labelled images at the end, if its params say so. Its card counts
    the images that went through either network.

    Raises:
        UserError: soft labels on a machine that compiles: nothing is differentiated twice there.
    """
    options, run, training = job.config.options, job.run, job.config.training
    _check_compile(job)
    card = describe(job, unlabelled=True)
    card["model"] = _described(options)
    network, card = begin(job, card)
    autocast = machine.configure(run.machine, network, checkpoint.pixels(card))
    teacher = (reduced if options.reduced else trained)(job, card)
    pair = PAIRS[options.labels, options.corrected_by](
        network, training, options, teacher.learner, autocast
    )
    card["images_seen"] = pair.images_seen(sizes(teacher.streams))
    teacher.card["images_seen"] = teacher.learner.images_seen(sizes(teacher.streams))
    evaluate_student = evaluation(card, run.device)

    def evaluate_both(pair: Learner) -> Row:
        rate = {"learning_rate": pair.teacher.rate_at(pair.teacher.num_steps - 1)}
        theirs = rate | teacher.evaluate(pair.teacher)
        return evaluate_student(pair) | {f"teacher/{k}": v for k, v in theirs.items()}

    with Trainings(replace(run, depends=depends(job, card))) as trainings:
        history = trainings.fit(pair, teacher.streams, evaluate_both)
        metrics = {"metrics": teacher.evaluate(teacher.learner)}
        curve = [of_teacher(row) for row in history]
        became = write(teacher.complete(), teacher.card | metrics, curve)
        return end(job, trainings, pair, card, history), became


def _check_compile(job: Job) -> None:
    if job.run.machine.compile and job.config.options.corrected_by == "gradient":
        where = f"params.yaml ({job.config.key}.labels)"
        what = "the gradient of soft labels is not known through `compile`"
        raise UserError(where, what, "set compile: false on this machine, or use labels: hard")


def _described(options: MetaPseudoLabels) -> dict:
    """The options that decide the result."""
    elsewhere = {"network", "width", "pretrained", "training"}
    shown = options.model_dump(exclude_none=True, exclude={*elsewhere, *options.idle})
    return shown | {"feedback": options.corrected_by}


def trained(job: Job, student: dict) -> PairTeacher:
    """A teacher that is trained on as it is, together with the student of that card."""
    [parent] = job.parents
    run, options = job.run, job.config.options
    network, theirs = checkpoint.load(Path("models") / parent, run.device)
    autocast = machine.configure(run.machine, network, checkpoint.pixels(theirs))
    if run.machine.compile:
        network.compile()
    learner = ConsistentTeacher(network, job.config.training, options, autocast)
    card = describe_teacher(student, theirs, parent)
    evaluate = evaluation(card, run.device)
    return PairTeacher(learner, streams(job), card, evaluate, lambda: learner.weights)


def reduced(job: Job, student: dict) -> PairTeacher:
    """A teacher that answers each image once, and the calibrator that is trained on its answers.
    The teacher itself is not there in training; it is read again when the model is written."""
    [parent] = job.parents
    run, width = job.run, job.config.options.calibrator_width
    parts = {name: stream for name, stream in streams(job).items() if name != "weak"}
    theirs = checkpoint.read_card(Path("models") / parent)
    card = describe_teacher(student, theirs, parent)
    card["network"] = theirs["network"] | {"calibrator": width}
    [val] = tasks.known(card, "val")
    answers = answered(parent, job)
    at_val = answers.pop("val").to(run.device)
    randomness.seed_torch(run.seed, card["name"], "init")
    calibrator = Calibrator(at_val.shape[1], width).to(run.device)
    learner = ReducedTeacher(calibrator, job.config.training, job.config.options, answers)

    @torch.inference_mode()
    def evaluate_calibrator(learner: Learner) -> Row:
        return scores(learner.weights(at_val).cpu(), val.labels)

    def complete() -> Classifier:
        with loaded(parent, run.machine, run.device) as (network, _):
            network.calibrator = learner.weights
            return network

    return PairTeacher(learner, parts, card, evaluate_calibrator, complete)


def streams(job: Job) -> dict[str, Stream]:
    """The labelled images, and the unlabelled ones in both views."""
    images = job.images
    return {
        "labelled": labelled(job),
        "unlabelled": images.unlabelled(images.strong),
        "weak": images.unlabelled(images.weak),
    }


def answered(parent: str, job: Job) -> dict[str, Tensor]:
    """The logits (M, K) of all images of the splits, as they are stored, without noise."""
    run, answers = job.run, {}
    with loaded(parent, run.machine, run.device) as (teacher, autocast):
        for split in ("labelled", "unlabelled", "val"):
            logits = evaluate.infer(teacher, job.dataset.array(split), autocast)
            answers[split] = torch.as_tensor(within_reach(logits.numpy(), run.machine, run.device))
    return answers


@contextmanager
def loaded(
    parent: str, settings: Machine, device: torch.device
) -> Iterator[tuple[Classifier, Autocast]]:
    """A model for as long as it takes, with the threads that are best for it."""
    threads = torch.get_num_threads()
    network, card = checkpoint.load(Path("models") / parent, device)
    try:
        yield network, machine.configure(settings, network, checkpoint.pixels(card))
    finally:
        torch.set_num_threads(threads)


def describe_teacher(student: dict, teacher: dict, parent: str) -> dict:
    """The card of what the teacher became."""
    kept = ("network", "heads", "image_shape", "normalisation")
    shared = ("data", "seed", "training", "model")
    return {
        **{key: teacher[key] for key in kept},
        **{key: student[key] for key in shared},
        "name": corrected(student["name"]),
        "parents": {parent: teacher["sha256"]},
    }


def of_teacher(row: Row) -> Row:
    """What a row of the pair's curve says of the teacher."""
    own = {k.removeprefix("teacher/"): v for k, v in row.items() if k.startswith("teacher/")}
    shared = {"step": row["step"], "learning_rate": own.pop("learning_rate")}
    return shared | {"feedback": row["feedback"]} | own
