"""Which images the gallery picks, and that their pixels arrive."""

import made_up
import numpy as np
import torch

from pipeline.report import gallery


def test_surest_goes_round_the_answers():
    probs = np.array([[0.9, 0.1], [0.45, 0.55], [0.8, 0.2], [0.3, 0.7], [0.75, 0.25]])
    assert gallery.surest(probs).tolist() == [0, 3, 2, 1, 4]


def test_confidently_wrong_is_wrong_and_sorted():
    probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.05, 0.95]])
    assert gallery.confidently_wrong(probs, np.array([1, 0, 0, 0])).tolist() == [3, 0, 2]


def test_most_often_wrong_counts_models_then_the_true_class():
    fails = np.array([2, 0, 3, 2])
    assert gallery.most_often(fails, np.array([0.5, 0.0, 0.9, 0.1])).tolist() == [2, 3, 0]


def test_times_wrong_matches_images_by_task():
    tasks = {"t1": ("g1", ["x"]), "s1": ("g1", ["y", "z"]), "t2": ("t1", ["w"])}
    experiment = made_up.experiment({"g1": "teacher"}, tasks, "t2", list("abc"))
    models = made_up.models(experiment, each=5)
    fails, knowing = gallery.times_wrong(models, "t2")
    mine = models["t2"].answers["val"]
    for row, task in enumerate(mine.task):
        place = int((mine.task[:row] == task).sum())
        wrong = []
        for model in models.values():
            answers = model.answers["val"]
            rows = np.flatnonzero(answers.task == task)
            if len(rows):
                assert torch.equal(answers.images[rows[place]], mine.images[row])
                wrong.append(not answers.right[rows[place]])
        assert (fails[row], knowing[row]) == (sum(wrong), len(wrong))
    assert set(knowing) == {5, 2, 1}
