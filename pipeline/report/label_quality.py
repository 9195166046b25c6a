"""How good the pseudo-labels are that a generation learns from."""

from dataclasses import dataclass

import numpy as np

from pipeline.data import tasks
from pipeline.labelling import pseudo_labels


@dataclass(frozen=True)
class LabelQuality:
    """The pseudo-labels of a generation against the truth.

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
    total, size = dataset.num("unlabelled"), len(dataset.classes)
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
