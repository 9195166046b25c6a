"""What is taken for what, counted by hand."""

import made_up
import numpy as np
import pytest

from pipeline.report import confusion


def test_the_commonest_mistakes_come_first_and_right_answers_never():
    counts = np.array([[90, 2, 0], [7, 80, 1], [0, 3, 70]])
    assert confusion.mistakes(counts) == [(1, 0, 7), (2, 1, 3), (0, 1, 2), (1, 2, 1)]
    assert confusion.mistakes(np.diag([5, 6])) == []


def test_the_hardest_classes_are_those_least_often_right():
    share = {f"c{i:02d}": i / 20 for i in range(20)} | {"none": float("nan")}
    names = [*share, "unknown"]
    assert confusion.hardest(names, share) == [f"c{i:02d}" for i in range(12)]


@pytest.mark.parametrize("test", [True, False])
def test_cells_count_images_of_the_split_that_is_shown(test):
    experiment = made_up.experiment({}, {}, "teacher", ["cat", "dog", "owl"], test=test)
    results = made_up.results(experiment, each=9)
    (matrix,) = confusion.confusion(results)["chosen"]
    answers = results.measured["teacher"].answers["test" if test else "val"]
    pairs = list(zip(answers.labels.tolist(), answers.logits.argmax(1).tolist()))
    counts = [[pairs.count((i, j)) for j in range(3)] for i in range(3)]
    assert matrix["counts"] == counts and matrix["num"] == 27
    np.testing.assert_allclose(matrix["share"], np.array(counts) / 9)
    shares = confusion.class_accuracy(results.measured["teacher"])
    assert list(shares.values()) == pytest.approx([counts[i][i] / 9 for i in range(3)])
