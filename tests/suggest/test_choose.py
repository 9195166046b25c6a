"""The rule: uncertain images, each of another kind, against scikit-learn and against chance."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from pipeline.suggest import rule


def answers(rng, num, models=2, classes=4):
    return rng.dirichlet(np.ones(classes), size=(models, num)).astype(np.float32)


def test_uncertainty_is_one_minus_the_margin_of_the_mean():
    probs = np.array([[[0.6, 0.4, 0.0], [1, 0, 0]], [[0.2, 0.8, 0.0], [1, 0, 0]]])
    np.testing.assert_allclose(rule.uncertainty(probs), [1 - (0.6 - 0.4), 0])


def test_disagreement_counts_as_doubt():
    sure = np.array([[0.98, 0.01, 0.01]])
    torn = np.array([[0.01, 0.98, 0.01]])
    agree, disagree = np.stack([sure, sure]), np.stack([sure, torn])
    assert rule.uncertainty(disagree)[0] > 0.99 > 0.1 > rule.uncertainty(agree)[0]


@pytest.mark.parametrize("num", [1, 7, 40])
def test_rows_are_different_and_most_uncertain_first(rng, num):
    probs, features = answers(rng, 40), rng.normal(size=(40, 5))
    rows = rule.choose(probs, features, num)
    assert len(set(rows.tolist())) == num and rows.dtype == np.int64
    assert (np.diff(rule.uncertainty(probs)[rows]) <= 0).all()


def test_none_is_chosen_that_is_not_among_the_most_uncertain(rng):
    probs, features = answers(rng, 300), rng.normal(size=(300, 5))
    doubt = rule.uncertainty(probs)
    least = np.sort(doubt)[-rule.BETA * 6]
    assert doubt[rule.choose(probs, features, 6)].min() >= least


def test_an_image_weighs_as_much_as_it_is_uncertain(rng, monkeypatch):
    probs, features, weights = answers(rng, 60), rng.normal(size=(60, 5)), []
    means = rule.weighted_means
    monkeypatch.setattr(rule, "weighted_means", lambda p, w, n: weights.append(w) or means(p, w, n))
    rule.choose(probs, features, 4)
    np.testing.assert_array_equal(weights[0], np.sort(rule.uncertainty(probs))[: -4 * 5 - 1 : -1])


def test_each_kind_of_doubt_is_chosen_once():
    """Three groups of images, the largest of them the most doubtful: by doubt alone all would be of
    that one."""
    kind = np.repeat([0, 1, 2], [12, 2, 1])
    features = np.eye(3)[kind] + 0.01 * np.random.default_rng(0).normal(size=(15, 3))
    top = np.array([0.5, 0.6, 0.65])[kind]
    probs = np.stack([top, 1 - top], axis=1)[None]
    assert set(kind[rule.choose(probs, features, 3)]) == {0, 1, 2}
    assert set(kind[np.argsort(-rule.uncertainty(probs))[:3]]) == {0}


def test_the_same_answers_give_the_same_rows_whatever_their_order(rng):
    probs, features = answers(rng, 200), rng.normal(size=(200, 8)).astype(np.float32)
    rows = rule.choose(probs, features, 20)
    np.testing.assert_array_equal(rows, rule.choose(probs.copy(), features.copy(), 20))
    order = rng.permutation(200)
    shuffled = rule.choose(probs[:, order], features[order], 20)
    assert set(order[shuffled].tolist()) == set(rows.tolist())


def test_how_long_features_are_says_nothing(rng):
    probs, features = answers(rng, 100), rng.normal(size=(100, 8))
    longer = features * rng.uniform(0.1, 10, size=(100, 1))
    np.testing.assert_array_equal(rule.choose(probs, features, 9), rule.choose(probs, longer, 9))


def test_equal_images_with_equal_answers_give_different_rows():
    probs, features = np.full((1, 9, 3), 1 / 3), np.ones((9, 4))
    assert len(set(rule.choose(probs, features, 5).tolist())) == 5


def test_the_means_are_those_of_scikit_learn(rng):
    points, weight = rng.normal(size=(400, 6)), rng.random(400)
    start = points[rule.spread(points, weight, 9)]
    oracle = KMeans(9, init=start, n_init=1, max_iter=rule.ROUNDS, tol=0, algorithm="lloyd")
    oracle.fit(points, sample_weight=weight)
    np.testing.assert_allclose(
        rule.weighted_means(points, weight, 9), oracle.cluster_centers_, atol=1e-9
    )


def test_centres_begin_apart(rng):
    points = np.concatenate([rng.normal(c, 0.01, size=(20, 2)) for c in (0, 5, 9)])
    rows = rule.spread(points, np.ones(60), 3)
    assert sorted(row // 20 for row in rows) == [0, 1, 2]


def test_distances_are_those_between_points(rng):
    one, other = rng.normal(size=(30, 4)), rng.normal(size=(5, 4))
    far = np.linalg.norm(one[:, None] - other, axis=2)
    np.testing.assert_allclose(rule.squared(one, other), far**2, atol=1e-12)
    np.testing.assert_array_equal(rule.nearest(one, other), far.argmin(1))


def test_images_are_near_the_one_chosen_or_a_labelled_one():
    features = np.array([[1, 0], [1, 0.1], [1, 0.2], [0, 1], [0, 2.0], [-1, 0]])
    chosen, labelled = np.array([0, 3]), np.array([[-2.0, 0]])
    np.testing.assert_array_equal(rule.num_near(features, chosen, labelled), [3, 2])


def test_memory_holds_a_piece_of_the_distances(rng, monkeypatch):
    features, chosen, labelled = rng.normal(size=(50, 4)), np.arange(5), rng.normal(size=(7, 4))
    whole = rule.num_near(features, chosen, labelled)
    monkeypatch.setattr(rule, "PIECE", 36)
    np.testing.assert_array_equal(rule.num_near(features, chosen, labelled), whole)


def test_each_image_chosen_is_near_itself_though_others_are_equal():
    features = np.ones((4, 3))
    near = rule.num_near(features, np.array([2, 0]), np.ones((1, 3)))
    assert near.min() >= 1 and near.sum() <= 4
