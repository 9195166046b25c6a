"""Why an image was chosen, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.pages.formats import THIN, percent

SURE = 0.5  # of the first answer over the second: there is little doubt


def reasons(
    probs: np.ndarray, models: Sequence[str], classes: Sequence[str], stands_for: np.ndarray
) -> list[str]:
    """A line for each of n images chosen.

    Args:
        probs: of the G models `models`, oldest first, (G, n, K).
        stands_for: how many unlabelled images each is chosen for, itself among them, (n,).
    """
    return [
        "; ".join([_doubt(probs[:, row], models, classes), *_many(int(stands_for[row]))])
        for row in range(probs.shape[1])
    ]


def _doubt(probs: np.ndarray, models: Sequence[str], classes: Sequence[str]) -> str:
    """What the models (G, K) make of one image."""
    answers = probs.argmax(1)
    if len(set(answers.tolist())) > 1:
        said = dict.fromkeys(answers.tolist())
        by = {a: [m for m, own in zip(models, answers) if own == a] for a in said}
        return "generations disagree: " + ", ".join(
            f"{classes[a]} ({', '.join(names)})" for a, names in by.items()
        )
    mean = probs.mean(0)
    first, second = np.argsort(-mean, kind="stable")[:2]
    between = mean[first] - mean[second]
    if between >= SURE:
        return "little doubted, but more than the rest"
    return f"undecided: {_share(mean, first, classes)} or {_share(mean, second, classes)}"


def _share(mean: np.ndarray, column: int, classes: Sequence[str]) -> str:
    return f"{classes[column]} {percent(mean[column], 0).replace(THIN, ' ')}"


def _many(stands_for: int) -> list[str]:
    others = stands_for - 1
    return [f"like {others} others" if others > 1 else "like one other"] if others else []
