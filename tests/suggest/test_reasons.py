"""Why an image was chosen: what the generations say of it."""

import numpy as np

from pipeline.suggest.reasons import reasons

MODELS, CLASSES = ["teacher", "g1", "g2"], ["cat", "dog", "owl"]


def why(*probs, near=1):
    return reasons(np.array(probs)[:, None], MODELS[: len(probs)], CLASSES, np.array([near]))[0]


def test_generations_that_disagree_are_named():
    said = why([0.9, 0.1, 0], [0, 0.6, 0.4], [0.8, 0.2, 0])
    assert said == "generations disagree: cat (teacher, g2), dog (g1)"


def test_two_answers_of_nearly_the_same_probability():
    assert why([0.1, 0.48, 0.42]) == "undecided: dog 48 % or owl 42 %"
    assert why([0.2, 0.5, 0.3], [0.1, 0.5, 0.4]) == "undecided: dog 50 % or owl 35 %"


def test_how_many_others_an_image_stands_for():
    even = [0.5, 0.5, 0.0]
    assert why(even).endswith("dog 50 %")
    assert why(even, near=2).endswith("; like one other")
    assert why(even, near=18).endswith("; like 17 others")


def test_where_all_are_sure_nothing_is_made_up():
    assert why([0.02, 0.02, 0.96]) == "little doubted, but more than the rest"


def test_each_image_has_its_own_reason(rng):
    probs = np.array([[[0.9, 0.1, 0], [0.5, 0.5, 0]], [[0.1, 0.9, 0], [0.5, 0.5, 0]]])
    first, second = reasons(probs, ["teacher", "g1"], CLASSES, np.array([1, 3]))
    assert "disagree" in first and second == "undecided: cat 50 % or dog 50 %; like 2 others"
