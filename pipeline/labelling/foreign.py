"""Unlabelled images that look like none of the classes are dropped before the rest of the rule.

An image passes whose score is at least the one that a share `labels.ood_keep` of the val images
reach: their classes are known, and the teacher has not learnt from them. The scores:

- `threshold`: the largest probability (Hendrycks and Gimpel 2017, arXiv:1610.02136);
- `energy`: logsumexp of the logits, the negative energy (Liu et al. 2020, arXiv:2010.03759) at
  their temperature of 1.

A teacher that has learnt from foreign images, as one of their pseudo-labels, takes them for known.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.core.errors import UserError
from pipeline.labelling.transforms import Answers

LEAST = (
    50  # val images; of so many the share of known images that pass is `ood_keep` ± 0.06 at 0.95
)
SCORES: dict[str, Callable[[Answers], np.ndarray]] = {
    "threshold": lambda answers: answers.probs.max(1),
    "energy": lambda answers: -answers.energy,
}


@dataclass(frozen=True)
class Screened:
    """Which images pass a filter.

    Attributes:
        passes: bool (N,).
        cut: the least score that passes.
    """

    passes: np.ndarray
    cut: float

    @property
    def dropped(self) -> int:
        """Images that do not pass."""
        return int((~self.passes).sum())

    def describe(self) -> dict[str, float]:
        """For the metadata of the labels."""
        return {"cut": self.cut, "dropped": self.dropped}


def screen(name: str, keep: float, val: Answers, unlabelled: Answers) -> Screened:
    """Drop the images that look foreign.

    Args:
        name: of the score.
        keep: share of the val images that pass, in 0..1; more do where scores are equal.

    Raises:
        UserError: too few val images to set the cut by, or no image passes.
    """
    if len(val.energy) < LEAST:
        what = f"'{name}' sets its cut by the val images, of which {len(val.energy)} are too few"
        raise UserError("labels.ood_filter", what, f"raise data.val for {LEAST}, or set it to none")
    known, score = (SCORES[name](answers) for answers in (val, unlabelled))
    cut = float(np.sort(known)[len(known) - int(np.ceil(round(keep * len(known), 9)))])
    screened = Screened(score >= cut, cut)
    if not screened.passes.any():
        what = f"all {len(score)} unlabelled images look foreign to '{name}' (cut {cut:.3f})"
        fix = "add images of the classes, or set it to none"
        raise UserError("labels.ood_filter", what, fix)
    return screened
