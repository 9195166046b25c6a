"""Every model on val and, when asked, on test. Nothing else in the project reads test."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from pipeline.core import files, machine
from pipeline.data import tasks
from pipeline.labelling import pseudo_labels
from pipeline.networks import checkpoint, evaluate
from pipeline.networks.classifier import Classifier
from typing import Any as Params
from pipeline.report import continual


@dataclass(frozen=True)
class Seen:
    """A model's answers on a split of every task it knows.

    Attributes:
        images: uint8 (N, C, H, W).
        logits: (N, K) over all its classes; where the model is told the task of an image, minus
            infinity outside the task's own.
        told: the same with the task told in any case.
        labels: int64 (N,), positions among all its classes.
        task: the task each image belongs to, (N,).
    """

    images: Tensor
    logits: Tensor
    told: Tensor
    labels: Tensor
    task: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share right, 0..1, over all classes the model knows."""
        return evaluate.accuracy(self.logits, self.labels)

    @property
    def right(self) -> np.ndarray:
        """Whether each image is right, bool (N,)."""
        return (self.logits.argmax(1) == self.labels).numpy()


@dataclass(frozen=True)
class Measured:
    """A model, its card, and what it answered.

    Attributes:
        card: the model's card.
        classes: names in the order of the logits.
        seen: by split, `val` and perhaps `test`.
        unlabelled: of a model that Meta Pseudo Labels began with or made: share of the base task's
            unlabelled images it is right about, 0..1; else, or where no truth is known, None.
    """

    card: dict
    classes: list[str]
    seen: dict[str, Seen]
    unlabelled: float | None = None


def models(params: Params) -> dict[str, Measured]:
    """Measure every model that params name.

    Raises:
        UserError: a model or data set is missing or damaged.
    """
    settings = machine.load()
    device = machine.device(settings)
    splits = ["val", "test"] if params.report.test else ["val"]
    result = {}
    paired = {name for pair in params.meta_pseudo_labels for name in params.trio(pair)}
    for name in params.models():
        network, card = checkpoint.load(f"models/{name}", device)
        autocast = machine.suit(settings, network, checkpoint.pixels(card))
        seen = {split: look(network, card, split, autocast) for split in splits}
        right = unlabelled_accuracy(network, autocast) if name in paired else None
        result[name] = Measured(card, checkpoint.classes(card), seen, right)
    return result


def unlabelled_accuracy(network: Classifier, autocast) -> float | None:
    """Share of the base task's unlabelled images whose class a model has first, 0..1; None where
    no truth is known."""
    dataset = tasks.dataset("base")
    if "unlabelled/truth.npy" not in dataset.card["sha256"]:
        return None
    logits = evaluate.infer(network, dataset.array("unlabelled"), autocast)
    truth = torch.from_numpy(dataset.array("unlabelled", "truth").copy())
    return evaluate.accuracy(logits[:, : len(dataset.classes)], truth)


def look(network, card: dict, split: str, autocast) -> Seen:
    """A model's answers on one split of the tasks it has heads for."""
    known = tasks.known(card, split)
    images = torch.cat([task.images for task in known])
    logits = evaluate.infer(network, images, autocast)
    told = evaluate.task_known(logits, tasks.columns(known))
    return Seen(
        images=images,
        logits=told if tasks.is_told(card) else logits,
        told=told,
        labels=torch.cat([task.labels for task in known]),
        task=np.concatenate([[task.task] * len(task.labels) for task in known]),
    )


@dataclass(frozen=True)
class LabelQuality:
    """How good a generation's pseudo-labels are.

    Attributes:
        kept_share: images kept, of all unlabelled, 0..1.
        rows: targets after balancing, repeats counted.
        accuracy: of the kept images' labels, 0..1; None where no truth is known.
        per_class: rows by the class they are labelled with, (K,).
        images: kept images by that class, repeats not counted, (K,).
        right: of these, how many are labelled as the truth has it, (K,); None without truth.
    """

    kept_share: float
    rows: int
    accuracy: float | None
    per_class: np.ndarray
    images: np.ndarray
    right: np.ndarray | None


def label_quality(generation: str) -> LabelQuality:
    """Compare the pseudo-labels of a generation with the truth, where there is one."""
    dataset = tasks.dataset("base")
    labels, _ = pseudo_labels.load(f"data/pseudo_labels/{generation}.safetensors")
    kept, first = np.unique(labels.index, return_index=True)
    total, size = len(dataset.array("unlabelled")), len(dataset.classes)
    label = labels.label[first]
    accuracy = right = None
    if "unlabelled/truth.npy" in dataset.card["sha256"]:
        truth = dataset.array("unlabelled", "truth")
        accuracy = float(np.mean(truth[kept] == label))
        right = np.bincount(label[truth[kept] == label], minlength=size)
    return LabelQuality(
        kept_share=len(kept) / total,
        rows=len(labels.index),
        accuracy=accuracy,
        per_class=np.bincount(labels.label, minlength=size),
        images=np.bincount(label, minlength=size),
        right=right,
    )


def interval(share: float, num: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share of `num` images."""
    if not num:
        return float("nan"), float("nan")
    z = 1.959964
    centre = (share + z * z / (2 * num)) / (1 + z * z / num)
    half = z / (1 + z * z / num) * sqrt(share * (1 - share) / num + z * z / (4 * num * num))
    return centre - half, centre + half


def metrics(measured: dict[str, Measured], quality: dict[str, LabelQuality]) -> dict[str, float]:
    """The flat numbers of `report/metrics.json`."""
    result: dict[str, float] = {}
    for name, model in measured.items():
        val = model.seen["val"]
        low, high = interval(val.accuracy, len(val.labels))
        result[f"val_acc/{name}"] = val.accuracy
        result[f"val_acc_low/{name}"] = low
        result[f"val_acc_high/{name}"] = high
        result[f"val_loss/{name}"] = evaluate.negative_log_likelihood(val.logits, val.labels)
        if "test" in model.seen:
            result[f"acc/{name}"] = model.seen["test"].accuracy
        result[f"num_parameters/{name}"] = model.card["num_parameters"]
        result[f"images_seen/{name}"] = model.card["images_seen"]
        if model.unlabelled is not None:
            result[f"unlabelled_acc/{name}"] = model.unlabelled
    result |= continual.metrics(measured)
    for name, found in quality.items():
        result[f"pseudo_labels/{name}/kept_share"] = found.kept_share
        result[f"pseudo_labels/{name}/rows"] = found.rows
        if found.accuracy is not None:
            result[f"pseudo_labels/{name}/accuracy"] = found.accuracy
    return {
        key: round(value, 6) if isinstance(value, float) else value for key, value in result.items()
    }


def outputs(params: Params, measured: dict[str, Measured]) -> dict[str, str]:
    """The hash of what every stage of the pipeline made, by stage."""
    found = {"prepare": tasks.dataset("base").card["seal"]}
    found |= {f"prepare_task@{name}": tasks.dataset(name).card["seal"] for name in params.tasks}
    for name in params.generations:
        path = f"data/pseudo_labels/{name}.safetensors"
        found[f"pseudo_label@{name}"] = files.sha256(path)
    for name, model in measured.items():  # a pair is known by its student, which comes first
        found.setdefault(params.stage_of(name), model.card["sha256"])
    return found
