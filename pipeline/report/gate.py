"""What ships: the candidate, unless a paired test on val says that an earlier model is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipeline.report.measure import Measured

LEVEL = 0.05
TESTS = {"accuracy": "McNemar test", "mean IoU": "sign test over images"}  # by what is compared
RULE = (
    "A model ships unless its parent, or any model before that in its chain, is better on the "
    f"model's own val images (exact {{test}}, one-sided, p < {LEVEL} divided by how many models "
    "it is compared with, so that a long chain refuses no more of its models by chance than a "
    "short one; Bonferroni); images of classes that "
    "the earlier model does not know count against that one. A distilled model, and what goes on "
    "from it, may be worse than what was before by as much as report.keeps allows."
)


def rule(measure: str) -> str:
    """The gate's rule in words, of models that are compared by accuracy or mean IoU."""
    return RULE.format(test=TESTS[measure])


@dataclass(frozen=True)
class Verdict:
    """The gate's decision.

    Attributes:
        ships: name of the model.
        sentences: one for each model tried, the candidate first.
    """

    ships: str
    sentences: list[str]

    @property
    def why(self) -> str:
        """The decision as one line."""
        return " ".join(self.sentences)


def worse(child: np.ndarray, parent: np.ndarray) -> float:
    """How likely it is, were both equally good, that the parent wins at least so many of the
    images on which they differ (exact one-sided sign test, of right and wrong McNemar's).

    Args:
        child, parent: how good each is on the same images, (N,): right or not, or a score.
    """
    from scipy.stats import binom

    lost, won = int((parent > child).sum()), int((child > parent).sum())
    return float(binom.sf(lost - 1, lost + won, 0.5)) if lost else 1.0


@dataclass(frozen=True)
class Pair:
    """A model and an earlier one of its chain on the model's val images.

    Attributes:
        child, parent: names.
        mine, theirs: how good each answer is, (N,), right or not, or its mean IoU; the parent is
            wrong on classes it does not know.
        shared: whether both know the image's class, bool (N,).
        keeps: where a distilled model lies between, the share of the parent's accuracy that is
            enough; else None.
        measure: what the answers are measured by.
    """

    child: str
    parent: str
    mine: np.ndarray
    theirs: np.ndarray
    shared: np.ndarray
    keeps: float | None = None
    measure: str = "accuracy"

    def lost(self, level: float) -> bool:
        """Whether the child is too much worse to ship.

        Args:
            level: of the test, 0..1.
        """
        if self.keeps is None:
            return self.chance < level
        return bool(self.mine.mean() < self.keeps * self.theirs.mean())

    @property
    def chance(self) -> float:
        """Of so many lost images, were both equally good."""
        return worse(self.mine, self.theirs)

    def describe(self) -> str:
        """The comparison in words; for a model with new classes also what the old ones lost."""
        lost, won = int((self.theirs > self.mine).sum()), int((self.mine > self.theirs).sum())
        text = (
            f"on {len(self.mine)} val images it is right on {won} where {self.parent} is wrong "
            f"and wrong on {lost} where {self.parent} is right "
            f"(one-sided McNemar p = {self.chance:.2g})"
        )
        if self.measure != "accuracy":
            text = (
                f"on {len(self.mine)} val images its {self.measure} is higher on {won} and lower "
                f"on {lost} than that of {self.parent} (one-sided sign test p = {self.chance:.2g})"
            )
        if self.keeps is not None:
            kept = self.mine.mean() / self.theirs.mean() if self.theirs.any() else float("inf")
            of = self.measure if self.measure == "accuracy" else f"{self.measure} per image"
            text = f"{text} and keeps {kept:.1%} of its {of} ({self.keeps:.0%} asked)"
        if self.shared.all():
            return text
        old = f"{self.mine[self.shared].mean():.1%} where {self.parent} is right on "
        return f"{text}; of the classes both know it is right on {old}" + (
            f"{self.theirs[self.shared].mean():.1%}"
        )


def compare(
    chain: list[str],
    measured: Mapping[str, Measured],
    keeps: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, list[Pair]]:
    """Each model of a chain against all before it, its own parent first.

    Args:
        chain: from the first model to the candidate, each the parent of the next.
        keeps: of each distilled model, the share of its teacher's accuracy that is enough.
    """
    return {
        child: [
            _pair(child, elder, measured, _kept(chain[before + 1 : place + 1], keeps))
            for before, elder in reversed(list(enumerate(chain[:place])))
        ]
        for place, child in enumerate(chain[1:], 1)
    }


def _kept(between: list[str], keeps: Mapping[str, float]) -> float | None:
    """What is enough of an elder's accuracy after models, the child the last of them."""
    shares = [keeps[name] for name in between if name in keeps]
    return prod(shares) if shares else None


def _pair(child: str, elder: str, measured: Mapping[str, Measured], keeps: float | None) -> Pair:
    mine, theirs = measured[child].answers["val"], measured[elder].answers["val"]
    ahead = measured[elder].ahead.get("val", {})
    shared = np.isin(mine.task, [*theirs.task, *ahead])
    right = np.zeros(len(shared), dtype=theirs.scores.dtype)
    right[np.isin(mine.task, theirs.task)] = theirs.scores
    for task in set(mine.task) & set(ahead):
        right[mine.task == task] = ahead[task].scores
    return Pair(child, elder, mine.scores, right, shared, keeps, mine.measure)


def decide(chain: list[str], pairs: Mapping[str, list[Pair]]) -> Verdict:
    """Walk back from the end of `chain` to the last model that is not worse than its parent nor
    than any model before that: a ruined parent must not make its child seem fine."""
    sentences = []
    for child in reversed(chain[1:]):
        tested = sum(pair.keeps is None for pair in pairs[child])
        lost = [pair for pair in pairs[child] if pair.lost(LEVEL / max(tested, 1))]
        if not lost:
            return Verdict(child, [*sentences, f"{child} ships: {pairs[child][0].describe()}."])
        sentences.append(f"{child} does not ship: {lost[0].describe()}.")
    return Verdict(chain[0], [*sentences, f"{chain[0]} ships: it is the first of its chain."])
