"""What ships: the candidate, unless a paired test on val says that an earlier model is better."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEVEL = 0.05


@dataclass(frozen=True)
class Verdict:
    """The gate's decision.

    Attributes:
        ships: name of the model.
        sentences: one for each model looked at, the candidate first.
    """

    ships: str
    sentences: list[str]

    @property
    def why(self) -> str:
        """The decision as one line."""
        return " ".join(self.sentences)


def worse(child: np.ndarray, parent: np.ndarray) -> float:
    """How likely it is, were both equally good, that the parent wins at least so many of the
    images on which they differ (exact one-sided McNemar test).

    Args:
        child, parent: whether each is right on the same images, bool (N,).
    """
    from scipy.stats import binom

    lost, won = int((parent & ~child).sum()), int((child & ~parent).sum())
    return float(binom.sf(lost - 1, lost + won, 0.5)) if lost else 1.0


def decide(chain: list[str], right: dict[str, np.ndarray]) -> Verdict:
    """Walk back from the end of `chain` to the last model that is not worse than its parent.

    Args:
        chain: from the first model to the candidate, each the parent of the next.
        right: for each model, whether it is right on each val image of its *child* and on its own
            under `<name>`; see `compared`.
    """
    sentences = []
    for parent, child in reversed(list(zip(chain, chain[1:]))):
        mine, theirs = right[child], right[f"{parent} on {child}"]
        chance = worse(mine, theirs)
        lost, won = int((theirs & ~mine).sum()), int((mine & ~theirs).sum())
        what = (
            f"on {len(mine)} val images it is right on {won} where {parent} is wrong and wrong on "
            f"{lost} where {parent} is right (one-sided McNemar p = {chance:.2g})"
        )
        if chance >= LEVEL:
            return Verdict(child, [*sentences, f"{child} ships: {what}."])
        sentences.append(f"{child} does not ship: {what}.")
    return Verdict(chain[0], [*sentences, f"{chain[0]} ships: it is the first of its chain."])


def compared(chain: list[str], seen: dict) -> dict[str, np.ndarray]:
    """What `decide` needs: each model on its own val images, and each parent on its child's, where
    images of classes that the parent does not know count as wrong.

    Args:
        seen: `report.measure.Seen` on val, by model.
    """
    right = {name: seen[name].right for name in chain}
    for parent, child in zip(chain, chain[1:]):
        knows = np.isin(seen[child].task, seen[parent].task)
        answers = np.zeros(len(knows), dtype=bool)
        answers[knows] = seen[parent].right
        right[f"{parent} on {child}"] = answers
    return right
