"""Val images worth seeing: what the model is sure of, where it doubts, what it gets wrong.

Val and not test, so that reading mistakes does not spend the test images.
"""

import numpy as np
from scipy.special import softmax

from pipeline.pages.thumbnails import thumbnail
from pipeline.report.measure import Measured
from pipeline.report.results import Results

SHOWN = 10  # images a group


def section(results: Results) -> dict | None:
    """Four groups of images as the model that ships sees them; None where pixels have classes."""
    measured, name = results.measured, results.ships
    answers = measured[name].answers["val"]
    if answers.unit != "image":
        return None
    probs = softmax(answers.logits.double().numpy(), axis=1)
    labels, (fails, knowing) = answers.labels.numpy(), times_wrong(measured, name)
    rows = {
        "surest": surest(probs),
        "doubtful": np.argsort(probs.max(1), kind="stable"),
        "most_often": most_often(fails, probs[np.arange(len(labels)), labels]),
        "confidently": confidently_wrong(probs, labels),
    }

    def tile(row: int) -> dict:
        counts = {"wrong_in": int(fails[row]), "models": int(knowing[row])}
        return _tile(measured[name], row, probs[row]) | counts

    shown = {key: [tile(row) for row in of[:SHOWN].tolist()] for key, of in rows.items()}
    return {"name": name} | shown


def surest(probs: np.ndarray) -> np.ndarray:
    """The surest image of each answer, surest first, then the second of each, and so on.

    Args:
        probs: (N, K).

    Returns:
        rows (N,).
    """
    confidence, answer = probs.max(1), probs.argmax(1)
    order = np.argsort(-confidence, kind="stable")
    rank = np.empty(len(order), dtype=int)
    for c in np.unique(answer):
        rank[order[answer[order] == c]] = np.arange((answer == c).sum())
    return np.lexsort((-confidence, rank))


def most_often(fails: np.ndarray, true_prob: np.ndarray) -> np.ndarray:
    """Rows that some model gets wrong, those that most do first."""
    order = np.lexsort((true_prob, -fails))
    return order[fails[order] > 0]


def confidently_wrong(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Rows that are wrong, the surest first."""
    order = np.argsort(-probs.max(1), kind="stable")
    return order[probs.argmax(1)[order] != labels[order]]


def times_wrong(measured: dict[str, Measured], name: str) -> tuple[np.ndarray, np.ndarray]:
    """For each val image of model `name`: how many models get it wrong, of how many that know its
    task, both (N,)."""
    mine = measured[name].answers["val"]
    fails, knowing = np.zeros((2, len(mine.labels)), dtype=int)
    for model in measured.values():
        answers = model.answers["val"]
        for task in dict.fromkeys(answers.task.tolist()):
            ours, theirs = mine.task == task, answers.task == task
            if ours.any():
                knowing[ours] += 1
                fails[ours] += ~answers.right[theirs]
    return fails, knowing


def _tile(model: Measured, row: int, probs: np.ndarray) -> dict:
    answers, classes = model.answers["val"], model.classes
    true, answer = int(answers.labels[row]), int(probs.argmax())
    return {
        "image": thumbnail(answers.images[row].numpy()),
        "right": true == answer,
        "true": classes[true],
        "true_prob": probs[true],
        "answer": classes[answer],
        "prob": probs[answer],
    }
