"""The gate: a paired test on val decides what ships."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binomtest

from pipeline.report import gate


def answers(right: int, wrong: int) -> np.ndarray:
    return np.array([True] * right + [False] * wrong, dtype=bool)


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (1, 0), (5, 1), (8, 8), (3, 9), (12, 2)])
def test_the_test_is_mcnemars_exact_one(lost, won):
    parent = answers(lost, won)
    child = ~parent
    both = answers(7, 3)
    got = gate.worse(np.concatenate([child, both]), np.concatenate([parent, both]))
    wanted = binomtest(lost, lost + won, 0.5, "greater").pvalue if lost + won else 1.0
    assert got == pytest.approx(wanted)


def answered(right: np.ndarray, **others) -> SimpleNamespace:
    """Answers to images that are right or wrong."""
    return SimpleNamespace(right=right, scores=right, measure="accuracy", **others)


def on_val(right: np.ndarray, task: str = "base") -> SimpleNamespace:
    return measured(answered(right=right, task=np.array([task] * len(right))))


def measured(answers: SimpleNamespace, ahead: dict | None = None) -> SimpleNamespace:
    return SimpleNamespace(answers={"val": answers}, ahead={"val": ahead or {}})


def decide(**models: np.ndarray) -> gate.Verdict:
    answers = {name: on_val(right) for name, right in models.items()}
    return gate.decide(list(models), gate.compare(list(models), answers))


def test_an_equal_candidate_ships():
    assert decide(teacher=answers(50, 50), g1=answers(50, 50)).ships == "g1"


def test_a_clearly_worse_candidate_does_not():
    verdict = decide(teacher=answers(50, 50), g1=answers(60, 40), g2=answers(30, 70))
    assert verdict.ships == "g1"
    assert "g2 does not ship" in verdict.sentences[0] and "g1 ships" in verdict.sentences[1]


def test_the_first_ships_when_all_after_it_are_worse():
    assert (
        decide(teacher=answers(90, 10), g1=answers(70, 30), g2=answers(40, 60)).ships == "teacher"
    )


def test_the_level_is_shared_by_all_comparisons():
    """Nine lost and two won have p = 0.033: enough for one elder, not for one of two."""
    elder = np.array([True] * 9 + [False] * 2 + [True] * 40)
    child = np.array([False] * 9 + [True] * 2 + [True] * 40)
    assert gate.worse(child, elder) == pytest.approx(0.0327, abs=1e-4)
    assert decide(teacher=elder, g1=child).ships == "teacher"
    assert decide(teacher=elder, g1=elder, g2=child).ships == "g2"
    assert "divided by how many models" in gate.rule("accuracy")


def test_of_many_equal_models_a_long_chain_refuses_no_more_by_chance_than_a_short_one():
    """Under the null hypothesis at most one in twenty, whatever the number of elders."""
    rng = np.random.default_rng(0)
    for elders in (1, 2, 5):
        refused = 0
        for _ in range(400):
            made = {f"m{n}": rng.random(200) < 0.8 for n in range(elders + 1)}
            last = list(made)[-1]
            refused += decide(**made).ships != last
        assert refused / 400 < 0.07, elders


def test_a_model_alone_ships():
    assert decide(teacher=answers(1, 9)).ships == "teacher"


def test_images_of_classes_the_parent_does_not_know_count_as_wrong():
    base, new = answers(40, 10), answers(20, 0)
    task = answered(
        right=np.concatenate([answers(30, 20), new]),
        task=np.array(["base"] * 50 + ["t1"] * 20),
    )
    pairs = gate.compare(["g1", "t1"], {"g1": on_val(base), "t1": measured(task)})
    (pair,) = pairs["t1"]
    assert pair.theirs.tolist() == base.tolist() + [False] * 20
    verdict = gate.decide(["g1", "t1"], pairs)
    assert verdict.ships == "t1"
    assert "of the classes both know it is right on 60.0% where g1 is right on 80.0%" in verdict.why


def test_images_of_a_domain_the_parent_was_not_taught_are_answered_by_it_all_the_same():
    base, ahead = answers(40, 10), answers(5, 15)
    task = answered(
        right=np.concatenate([answers(40, 10), answers(20, 0)]),
        task=np.array(["base"] * 50 + ["d1"] * 20),
    )
    before = measured(answered(right=base, task=np.array(["base"] * 50)))
    before.ahead["val"]["d1"] = answered(right=ahead)
    (pair,) = gate.compare(["g1", "d1"], {"g1": before, "d1": measured(task)})["d1"]
    assert pair.theirs.tolist() == base.tolist() + ahead.tolist() and pair.shared.all()


def test_a_ruined_parent_does_not_make_its_child_look_fine():
    verdict = decide(teacher=answers(90, 10), g1=answers(40, 60), g2=answers(42, 58))
    assert verdict.ships == "teacher"
    assert "g2 does not ship: on 100 val images" in verdict.sentences[0]
    assert "where teacher is right" in verdict.sentences[0]


def smaller(keeps: float, **models: np.ndarray) -> gate.Verdict:
    """d1 is distilled, and has to keep that share."""
    answers = {name: on_val(right) for name, right in models.items()}
    return gate.decide(list(models), gate.compare(list(models), answers, {"d1": keeps}))


@pytest.mark.parametrize(("right", "ships"), [(78, "d1"), (77, "d1"), (75, "g1")])
def test_a_distilled_model_ships_where_it_keeps_enough(right, ships):
    verdict = smaller(0.96, g1=answers(80, 20), d1=answers(right, 100 - right))
    assert verdict.ships == ships
    kept = f"keeps {right / 80:.1%} of its accuracy (96% asked)"
    assert kept in verdict.sentences[0]


def test_what_goes_on_from_a_distilled_model_may_be_as_much_worse_as_that():
    """Not than the distilled one itself: there the test decides."""
    right = {"teacher": answers(70, 30), "g1": answers(80, 20), "d1": answers(78, 22)}
    assert smaller(0.96, **right, t1=answers(77, 23)).ships == "t1"
    assert smaller(0.96, **right, t1=answers(60, 40)).ships == "d1"


def test_shares_of_two_distillations_multiply():
    right = {"g1": answers(80, 20), "d1": answers(76, 24), "d2": answers(73, 27)}
    measured = {name: on_val(each) for name, each in right.items()}
    pairs = gate.compare(list(right), measured, {"d1": 0.9, "d2": 0.95})
    assert [pair.keeps for pair in pairs["d2"]] == [0.95, pytest.approx(0.9 * 0.95)]
    assert [pair.keeps for pair in pairs["d1"]] == [0.9]
    assert gate.decide(list(right), pairs).ships == "d2"
