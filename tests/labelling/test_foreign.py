"""Foreign images: who passes, against counts by hand and another library's scores."""

import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from pipeline.core.errors import UserError
from pipeline.labelling.foreign import LEAST, SCORES, screen
from pipeline.labelling.transforms import Answers


def said(logits: np.ndarray) -> Answers:
    return Answers(softmax(logits, axis=1), -logsumexp(logits, axis=1))


def scored(values) -> Answers:
    """Answers of a known energy; probabilities do not matter."""
    values = np.array(values, dtype=float)
    return Answers(np.full((len(values), 2), 0.5), -values)


def drawn(rng, num: int, margin: float) -> Answers:
    logits = rng.normal(size=(num, 5))
    logits[np.arange(num), rng.integers(0, 5, num)] += margin
    return said(logits)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("keep", [0.5, 0.93, 0.95, 0.97, 1.0])
@pytest.mark.parametrize("num", [50, 61, 200])
def test_the_stated_share_of_val_passes_and_not_one_image_more(rng, name, keep, num):
    val = drawn(rng, num, 3.0)
    screened = screen(name, keep, val, val)
    assert screened.passes.sum() == int(np.ceil(round(keep * num, 9)))
    assert screened.dropped == num - screened.passes.sum()


@pytest.mark.parametrize(("name", "score"), [("threshold", np.max), ("energy", logsumexp)])
def test_an_image_passes_by_its_own_score_alone(rng, name, score):
    val, logits = drawn(rng, 100, 3.0), rng.normal(0, 2, (300, 5))
    screened = screen(name, 0.9, val, said(logits))
    scores = score(softmax(logits, axis=1) if name == "threshold" else logits, axis=1)
    assert np.array_equal(screened.passes, scores >= screened.cut)
    assert 0 < screened.dropped < 300
    alone = [
        screen(name, 0.9, val, said(logits[i : i + 1])) for i in np.flatnonzero(screened.passes)
    ]
    assert all(one.dropped == 0 and one.cut == screened.cut for one in alone)


def test_the_cut_is_a_score_of_val_and_what_equals_it_passes():
    val = scored(range(100))
    screened = screen("energy", 0.9, val, scored([9, 9.999, 10, 10.001, 200]))
    assert screened.cut == 10.0
    assert screened.passes.tolist() == [False, False, True, True, True]
    assert screened.describe() == {"cut": 10.0, "dropped": 2}


def test_equal_scores_pass_together():
    val = scored([0.0] * 30 + [1.0] * 70)
    assert screen("energy", 0.8, val, val).dropped == 0


def test_energy_sees_what_the_softmax_forgets():
    """The same logits, all lower: the same probabilities, another energy."""
    logits = np.tile([4.0, 0.0, 0.0], (100, 1)) + np.linspace(0, 1, 100)[:, None]
    known, low = said(logits), said(logits - 5)
    assert screen("threshold", 0.95, known, low).dropped == 0
    with pytest.raises(UserError, match="all 100 unlabelled images look foreign to 'energy'"):
        screen("energy", 0.95, known, low)


def test_too_few_val_images_set_no_cut(rng):
    few, enough = drawn(rng, LEAST - 1, 3.0), drawn(rng, LEAST, 3.0)
    with pytest.raises(UserError, match=f"of which {LEAST - 1} are too few; fix: raise data.val"):
        screen("energy", 0.95, few, enough)
    screen("energy", 0.95, enough, enough)
