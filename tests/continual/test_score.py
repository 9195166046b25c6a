"""The best moment of a task's training."""

from pipeline.continual.score import score

CARD = {"heads": [{"task": "base"}], "tasks": [["t1", "t1"], ["t2", "t2"]]}


def row(step: int, base: float, t1: float, t2: float) -> dict:
    return {"step": step, "val_acc/base": base, "val_acc/t1": t1, "val_acc/t2": t2, "val_acc": 0.0}


def test_old_tasks_count_alike_and_the_first_of_equals_is_taken():
    rows = [row(5, 1.0, 0.5, 0.0), row(10, 0.75, 0.5, 0.75), row(15, 0.5, 0.5, 0.875)]
    best = {"score": 0.6875, "score_old": 0.625, "score_new": 0.75, "score_step": 10}
    assert score(rows, CARD) == best
    assert score([*rows, row(20, 1.0, 0.25, 0.75)], CARD) == best
