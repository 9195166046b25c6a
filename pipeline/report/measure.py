"""Every model on val and, when asked, on test. Nothing else in the project reads test."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from pipeline.core import machine
from pipeline.core.lineage import Lineage
from pipeline.data import tasks
from pipeline.data.kinds import is_dense
from pipeline.networks import checkpoint, evaluate
from pipeline.networks.classifier import Classifier
from pipeline.report.answers import Answers
from pipeline.report.dense import DenseAnswers
from pipeline.report.joined import Joined


@dataclass(frozen=True)
class Measured:
    """A model, its card, and what it answered.

    Attributes:
        card: the model's card.
        classes: names in the order of the logits.
        answers: by split, `val` and perhaps `test`.
        ahead: by split, its answers to the images of tasks that its descendants learnt for the
            classes that it knows already (scenario `domain`); by task.
        unlabelled: of a model that Meta Pseudo Labels began with or made: share of the base task's
            unlabelled images it is right about, 0..1; else, or where no truth is known, None.
    """

    card: dict
    classes: list[str]
    answers: dict[str, Answers]
    unlabelled: float | None = None
    ahead: dict[str, dict[str, Answers]] = field(default_factory=dict)

    @property
    def split(self) -> str:
        """The split that the report shows: `test` where it was read, else `val`."""
        return list(self.answers)[-1]

    @property
    def shown(self) -> Answers:
        """The answers on that split."""
        return self.answers[self.split]


def models(lineage: Lineage, test: bool) -> dict[str, Measured]:
    """Measure every model of a lineage, on test too if asked, all in float32.

    Raises:
        UserError: a model or data set is missing or damaged.
    """
    settings = machine.load()
    device = machine.device(settings)
    splits = ["val", "test"] if test else ["val"]
    paired = {name for pair in lineage.pairs().values() for name in pair}
    result, held = {}, {}
    for name in lineage:
        network, card = checkpoint.load(f"models/{name}", device)
        machine.set_threads(settings, network, checkpoint.pixels(card))
        answers = {split: evaluate_split(network, card, split, held) for split in splits}
        right = unlabelled_accuracy(network) if name in paired else None
        later = domains_after(lineage, name, card)
        ahead = {
            split: {t: evaluate_split(network, card, split, held, [(t, h)]) for t, h in later}
            for split in splits
        }
        result[name] = Measured(card, checkpoint.classes(card), answers, right, ahead)
    return result


def domains_after(lineage: Lineage, name: str, card: dict) -> list[tuple[str, str]]:
    """The tasks below a model in a lineage that its own heads answer, each with the head's task."""
    heads = {head["task"] for head in card["heads"]}
    learnt = {task for task, _ in tasks.learnt(card)}
    found = []
    for other in lineage.of("tasks"):
        if name in lineage.chain(other)[:-1]:
            task, head = tasks.learnt(checkpoint.read_card(f"models/{other}"))[-1]
            found += [(task, head)] * (head in heads and task not in learnt)
    return found


def unlabelled_accuracy(network: Classifier) -> float | None:
    """Share of the base task's unlabelled images whose class a model has first, 0..1, of those
    whose truth is known; None where none is."""
    dataset = tasks.dataset("base")
    truth = torch.from_numpy(dataset.truth().copy())
    known = truth >= 0
    if not known.any():
        return None
    logits = answers(network, dataset.array("unlabelled"))[known]
    return evaluate.accuracy(logits[:, : len(dataset.classes)], truth[known])


def answers(network: Classifier, images: np.ndarray | Joined) -> Tensor:
    """Logits as they are served: in float32, whatever the training was in."""
    return evaluate.infer(network, images, machine.full_precision)


def evaluate_split(
    network: Classifier,
    card: dict,
    split: str,
    held: dict[tuple[str, str], Tensor],
    asked: list[tuple[str, str]] | None = None,
) -> Answers:
    """A model's answers on one split of the tasks that it learnt.

    Args:
        held: images by split and task, which models share; this one's are put there.
        asked: see `tasks.known`.
    """
    known = tasks.known(card, split, asked)
    images = Joined([held.setdefault((split, task.task), task.images) for task in known])
    logits = answers(network, images)
    task_known = evaluate.task_known(logits, tasks.columns(known))
    kind = DenseAnswers if is_dense(card) else Answers
    return kind(
        images=images,
        logits=task_known if tasks.is_task_known(card) else logits,
        task_known=task_known,
        labels=torch.cat([task.labels for task in known]),
        task=np.concatenate([[task.task] * len(task.labels) for task in known]),
    )
