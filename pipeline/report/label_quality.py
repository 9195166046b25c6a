"""How good the pseudo-labels are that a generation learns from."""

from dataclasses import dataclass

import numpy as np

from pipeline.data import tasks
from pipeline.data.kinds import UNKNOWN
from pipeline.labelling import pseudo_labels
from pipeline.labelling.confidence import Confidence


@dataclass(frozen=True)
class LabelQuality:
    """The pseudo-labels of a generation against the truth, as far as that is known.

    Attributes:
        kept_share: images kept, of all unlabelled, 0..1.
        rows: targets after balancing, repeats counted.
        per_class: rows by the class they are labelled with, (K,).
        images: kept images by that class, repeats not counted, (K,).
        known: of these, how many have a known truth, (K,).
        right: of those, how many are labelled as it has it, (K,).
        confidence: of the teacher, in val and in the unlabelled images; None without a teacher.
        foreign_share: images that the filter of foreign ones dropped, of all unlabelled, 0..1; None
            where it is off.
        unit: what has a label: where that is a pixel, `images`, `known` and `right` count pixels.
    """

    kept_share: float
    rows: int
    per_class: np.ndarray
    images: np.ndarray
    known: np.ndarray
    right: np.ndarray
    confidence: Confidence | None
    foreign_share: float | None = None
    unit: str = "image"

    @property
    def num_known(self) -> int:
        """Kept images whose truth is known."""
        return int(self.known.sum())

    @property
    def accuracy(self) -> float | None:
        """Of these images' labels, 0..1; None where there are none."""
        return float(self.right.sum() / self.num_known) if self.num_known else None


def label_quality(generation: str) -> LabelQuality:
    """Compare the pseudo-labels of a generation with the truth, where there is one."""
    dataset = tasks.dataset("base")
    labels, made = pseudo_labels.load(f"data/pseudo_labels/{generation}.safetensors")
    kept, first = np.unique(labels.index, return_index=True)
    label, truth = labels.label[first], dataset.truth()[kept]
    if dataset.is_dense:  # pixels, of which some are not kept
        given = label != UNKNOWN
        label, truth = label[given].astype(np.int64), truth[given]
    total, size = dataset.num("unlabelled"), len(dataset.classes)
    # labels from elsewhere say nothing of a teacher
    foreign, sure = made.get("foreign"), made.get("confidence")
    return LabelQuality(
        kept_share=len(kept) / total,
        rows=len(labels.index),
        per_class=labels.num_by_class(size),
        images=np.bincount(label, minlength=size),
        known=np.bincount(label[truth >= 0], minlength=size),
        right=np.bincount(label[truth == label], minlength=size),
        confidence=Confidence(**sure) if sure else None,
        foreign_share=foreign["dropped"] / total if foreign else None,
        unit="pixel" if dataset.is_dense else "image",
    )
