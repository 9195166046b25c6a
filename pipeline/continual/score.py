"""The moment of a training at which the old and the new together are known best."""

from pipeline.data import tasks
from pipeline.training.loop import Row


def score(history: list[Row], card: dict) -> Row:
    """`score`: the highest mean of `score_old` and `score_new` at any evaluation, `score_step`; the
    first of equals.

    `score_old` is the mean val accuracy over the earlier tasks, each as much as any other,
    `score_new` that on the newest.

    Args:
        history: rows with `val_acc/<task>` of each task that the card names.
    """
    *before, newest = [name for name, _ in tasks.learnt(card)]
    best: Row = {}
    for row in history:
        old = sum(row[f"val_acc/{name}"] for name in before) / len(before)
        new = row[f"val_acc/{newest}"]
        mean = (old + new) / 2
        if not best or mean > best["score"]:
            best = {"score": mean, "score_old": old, "score_new": new, "score_step": row["step"]}
    return best
