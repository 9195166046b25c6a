"""Filter, balance and sharpen: exact counts and identities."""

import numpy as np
import pytest

from pipeline.core.errors import UserError
from pipeline.labelling import pseudo_labels
from pipeline.labelling.rule import Labels

PLAIN = Labels(threshold=0.0, share=1.0, temperature=1.0, kind="soft", balance="none")


def generators(seed: int, names: str) -> list[np.random.Generator]:
    """One for each class, that depends on its name alone."""
    return [np.random.default_rng([seed, ord(name)]) for name in names]


def made(probs, seed=0, **rule) -> pseudo_labels.PseudoLabels:
    labels = PLAIN.model_copy(update=rule)
    return pseudo_labels.make(probs, labels, generators(seed, "abcd"))


def sure(confidences: dict[int, list[float]]) -> np.ndarray:
    """Rows that name a class with a confidence, the rest spread evenly; shuffled by class."""
    rows = []
    for label, values in confidences.items():
        for value in values:
            row = np.full(4, (1 - value) / 3)
            row[label] = value
            rows.append(row)
    return np.array(rows)


@pytest.fixture
def probs(rng):
    """200 rows over 4 classes, of which the last is never the largest."""
    logits = rng.normal(0, 2, (200, 4)) + [1.5, 0.5, 0, -20]
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def counts(labels) -> list[int]:
    return np.bincount(labels.label, minlength=4).tolist()


# --- which rows -------------------------------------------------------------------------------


def test_the_plain_rule_keeps_everything_as_it_is(probs):
    results = made(probs)
    assert sorted(results.index) == list(range(200))
    assert np.array_equal(results.probs, probs[results.index].astype(np.float16))
    assert np.array_equal(results.label, probs.argmax(1)[results.index])
    assert np.array_equal(results.weight, np.ones(200))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.95])
def test_the_threshold_keeps_what_reaches_it(probs, threshold):
    results = made(probs, threshold=threshold)
    assert set(results.index) == set(np.flatnonzero(probs.max(1) >= threshold))


def test_a_confidence_at_the_threshold_is_kept():
    assert made(sure({0: [0.5, 0.75]}), threshold=0.75).index.tolist() == [1]


@pytest.mark.parametrize(
    ("share", "num", "kept"),
    [(0.5, 10, 5), (0.5, 11, 6), (0.6, 5, 3), (0.07, 100, 7), (0.55, 100, 55), (0.01, 3, 1)],
)
def test_the_share_is_of_each_class_rounded_up(rng, share, num, kept):
    probs = sure({0: rng.uniform(0.4, 1, num), 2: rng.uniform(0.4, 1, 2 * num)})
    results = made(probs, share=share)
    assert counts(results)[0] == kept
    assert counts(results)[2] == int(np.ceil(round(2 * num * share, 9)))


def test_the_share_is_of_what_reached_the_threshold():
    probs = sure({0: [0.9, 0.8, 0.7, 0.6, 0.4, 0.3]})
    assert made(probs, share=0.5, threshold=0.5).index.tolist() == [0, 1]


def test_the_most_confident_come_first_and_of_equals_the_earlier():
    probs = sure({0: [0.5, 0.9, 0.5, 0.9], 1: [0.6, 0.7]})
    assert made(probs).index.tolist() == [1, 3, 0, 2, 5, 4]
    assert made(probs, balance=1).index.tolist() == [1, 5]


@pytest.mark.parametrize("num", [1, 3, 5, 40])
def test_balance_by_a_number_gives_every_class_so_many(num):
    probs = sure({0: [0.9, 0.8, 0.7, 0.6, 0.5], 1: [0.9, 0.8], 2: [0.7]})
    results = made(probs, balance=num)
    assert counts(results) == [num, num, num, 0]


def test_equal_balance_is_the_mean_of_the_classes_that_have_any():
    probs = sure({0: [0.9] * 7, 1: [0.9] * 4, 3: [0.9]})
    assert counts(made(probs, balance="equal")) == [4, 4, 0, 4]
    assert counts(made(probs, balance="none")) == [7, 4, 0, 1]


def test_a_large_class_keeps_its_most_confident_and_a_small_one_all_with_repeats():
    probs = sure({0: [0.5, 0.9, 0.8, 0.7, 0.6], 1: [0.6, 0.9]})
    results = made(probs, balance=3)
    assert results.index[:3].tolist() == [1, 2, 3]
    assert results.index[3:5].tolist() == [6, 5] and results.index[5] in (5, 6)


def test_repeats_are_random_but_the_same_for_the_same_seed():
    probs = sure({0: [0.9] * 10, 1: [0.9, 0.8, 0.7]})
    drawn = [made(probs, seed, balance=10).index[13:].tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) <= {10, 11, 12} and len(drawn[0]) == 7


def test_a_class_without_a_candidate_stays_empty(probs):
    for balance in ("equal", "none", 5):
        assert counts(made(probs, balance=balance))[3] == 0


def test_renaming_the_classes_renames_the_labels(probs):
    order = np.array([2, 0, 3, 1])
    rule = {"threshold": 0.5, "share": 0.5, "balance": 12}
    one, other = made(probs, **rule), made(probs[:, order], **rule)
    for new, old in enumerate(order):
        kept, renamed = one.index[one.label == old], other.index[other.label == new]
        assert set(kept) == set(renamed) and len(kept) == len(renamed)
        assert np.array_equal(kept[: len(set(kept))], renamed[: len(set(kept))])
    row = dict(zip(one.index, one.probs))
    assert all(np.array_equal(row[i][order], p) for i, p in zip(other.index, other.probs))


def test_only_what_passes_the_filter_is_kept_before_the_rest_of_the_rule():
    probs = sure({0: [0.9, 0.8, 0.7, 0.6], 1: [0.95, 0.5]})
    passes = np.array([False, True, True, True, False, True])
    labels = PLAIN.model_copy(update={"share": 0.5, "threshold": 0.55})
    results = pseudo_labels.make(probs, labels, generators(0, "abcd"), passes)
    assert results.index.tolist() == [1, 2]  # the surest half of the three that are left


def test_the_highest_confidence_named_is_of_what_passes():
    probs, labels = sure({0: [0.9, 0.4]}), PLAIN.model_copy(update={"threshold": 0.5})
    with pytest.raises(UserError, match=r"no image of 1 reaches 0.5 \(highest confidence 0.400"):
        pseudo_labels.make(probs, labels, generators(0, "abcd"), np.array([False, True]))


# --- which targets ----------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 2.0, 10.0])
def test_the_temperature_is_that_of_the_softmax(probs, temperature):
    power = probs ** (1 / temperature)
    expected = power / power.sum(1, keepdims=True)
    results = made(probs, temperature=temperature)
    assert np.allclose(results.probs, expected[results.index], atol=1e-3)
    assert np.array_equal(results.label, made(probs).label)


def test_a_temperature_near_nothing_is_the_hard_label(probs):
    assert np.array_equal(made(probs, temperature=1e-5).probs, made(probs, kind="hard").probs)


def test_sharpening_changes_no_row_that_is_kept(probs):
    rule = {"threshold": 0.6, "share": 0.5, "balance": "equal"}
    plain, sharp = made(probs, **rule), made(probs, temperature=0.1, **rule)
    assert np.array_equal(plain.index, sharp.index)


def test_a_probability_of_zero_stays_one(probs):
    certain = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 0.5, 0.5, 0.0]])
    assert np.array_equal(made(certain, temperature=0.5).probs, certain.astype(np.float16))


def test_hard_labels_are_one_hot_rows_of_the_label(probs):
    results = made(probs, kind="hard", temperature=5.0)
    assert np.array_equal(results.probs, np.eye(4, dtype=np.float16)[results.label])


@pytest.mark.parametrize("rule", [{}, {"temperature": 0.3}, {"balance": 70}, {"kind": "hard"}])
def test_targets_are_probabilities(probs, rule):
    results = made(probs, **rule).probs.astype(np.float64)
    assert (results >= 0).all() and np.allclose(results.sum(1), 1, atol=2e-3)


# --- what is refused --------------------------------------------------------------------------


def test_nothing_left_suggests_a_threshold_that_keeps_half():
    probs = sure({0: [0.5, 0.6], 1: [0.71, 0.8]})
    with pytest.raises(UserError) as caught:
        made(probs, threshold=0.9)
    (line,) = caught.value.lines
    assert "labels.threshold: no image of 4 reaches 0.9 (highest confidence 0.800" in line
    assert "100% at 0.5, 50% at 0.7, 0% at 0.9" in line
    suggested = float(line.split("to ")[1].split(" ")[0])
    assert len(made(probs, threshold=suggested).index) == 2


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_image_at_all_is_refused():
    with pytest.raises(UserError, match="no image of 0"):
        made(np.empty((0, 4)))


# --- distribution alignment -------------------------------------------------------------------


def test_alignment_is_the_papers_formula(probs):
    prior = np.array([0.4, 0.3, 0.2, 0.1])
    results = pseudo_labels.align(probs, prior)
    wanted = probs * prior / probs.mean(0)
    wanted /= wanted.sum(1, keepdims=True)
    np.testing.assert_allclose(results, wanted, rtol=1e-12)
    np.testing.assert_allclose(results.sum(1), 1)


def test_a_prior_that_is_the_mean_already_changes_nothing(probs):
    np.testing.assert_allclose(pseudo_labels.align(probs, probs.mean(0)), probs, rtol=1e-12)


def test_alignment_brings_the_mean_nearer_to_the_prior(probs):
    prior = np.full(4, 0.25)
    before = np.abs(probs[:, :3].mean(0) - prior[:3]).sum()
    after = np.abs(pseudo_labels.align(probs, prior)[:, :3].mean(0) - prior[:3]).sum()
    assert after < 0.5 * before


def test_a_class_that_nobody_predicts_at_all_stays_empty():
    probs = np.array([[0.75, 0.25, 0.0], [0.5, 0.5, 0.0]])
    results = pseudo_labels.align(probs, np.full(3, 1 / 3))
    assert np.isfinite(results).all() and (results[:, 2] == 0).all()


def test_alignment_comes_after_the_threshold_and_before_the_rest(rng):
    """Its mean is over what the threshold kept; classes, order and sharpening follow from it."""
    logits = rng.normal(0, 1.5, (300, 4)) + [1.0, 0.3, 0.0, -0.3]
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    rule = {"threshold": 0.5, "align": "uniform", "temperature": 0.5, "balance": 40}
    results = made(probs, **rule)
    kept = np.flatnonzero(probs.max(1) >= 0.5)
    aligned = np.zeros_like(probs)
    aligned[kept] = pseudo_labels.align(probs[kept], np.full(4, 0.25))
    assert np.array_equal(results.label, aligned[results.index].argmax(1))
    assert set(results.index) <= set(kept) and counts(results) == [40] * 4
    sharp = aligned[results.index] ** 2
    np.testing.assert_allclose(results.probs, sharp / sharp.sum(1, keepdims=True), atol=1e-3)
    first = aligned[results.index][results.label == 0].max(1)
    unique = len(set(results.index[results.label == 0]))
    assert (np.diff(first[:unique]) <= 0).all()


@pytest.mark.parametrize("rule", [{}, {"align": "uniform", "temperature": 0.7, "share": 0.6}])
def test_renaming_classes_renames_the_labels_and_nothing_else(rng, rule):
    """Class-permutation equivariance of the whole rule, random repeats included."""
    logits = rng.normal(0, 2, (200, 4))
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    order = [2, 0, 3, 1]
    labels = PLAIN.model_copy(update={"threshold": 0.4, "balance": 70, **rule})
    one = pseudo_labels.make(probs, labels, generators(0, "abcd"))
    two = pseudo_labels.make(probs[:, order], labels, generators(0, "cadb"))
    assert len(set(one.index.tolist())) < len(one.index) == 280  # there are repeats
    for new, old in enumerate(order):
        mine, theirs = one.label == old, two.label == new
        assert np.array_equal(one.index[mine], two.index[theirs])
        np.testing.assert_allclose(one.probs[mine][:, order], two.probs[theirs], atol=1e-3)
