"""What a pair of Meta Pseudo Labels writes: two models of one step, and what their cards say."""

import pytest
import torch
from conftest import EVALUATED, STEPS, tiny_values, write_params
from jobs import job

from pipeline.meta import train
from pipeline.meta.pair import Pair
from pipeline.meta.train import PAIRS, learn_with_teacher
from pipeline.networks import checkpoint
from pipeline.running.resume import Resume

EVERY = pytest.mark.parametrize(("labels", "feedback"), PAIRS)


def with_pair(folder, labels="hard", feedback="loss_difference", training=None, **spec) -> None:
    """The tiny params with a pair `m1` without a clean end."""
    pair = {"teacher": "g1", "teacher_learning_rate": 0.01, "labels": labels}
    pair |= {} if feedback == "gradient" else {"feedback": feedback}
    pair |= {"training": training or {}} | spec
    write_params(folder, tiny_values() | {"meta_pseudo_labels": {"m1": pair}})


def state_of(network) -> dict:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def equal(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.fixture
def scripted(monkeypatch):
    """Makes the student's accuracies at the evaluations those given; notes both models there."""
    noted = []

    def script(*accuracies):
        real, left = train.evaluation, list(accuracies)

        def evaluation(card, device):
            measure = real(card, device)

            def measured(learner):
                row = measure(learner)
                if isinstance(learner, Pair):
                    noted.append((state_of(learner.weights), state_of(learner.teacher.weights)))
                    row["val_acc"] = left.pop(0)
                return row

            return measured

        monkeypatch.setattr(train, "evaluation", evaluation)
        return noted

    return script


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("best", [0, 1, 2])
def test_the_best_student_ships_with_the_teacher_of_the_same_step(chain, scripted, best, ema):
    with_pair(chain, training={"keep": "best", "ema": ema})
    noted = scripted(*[0.9 if place == best else 0.1 for place in range(len(EVALUATED))])
    learn_with_teacher(job("m1"))
    shipped = [checkpoint.load(f"models/{n}")[0].state_dict() for n in ("m1", "m1-teacher")]
    assert [equal(*pair) for pair in zip(shipped, noted[best])] == [True, True]
    others = [both for place, both in enumerate(noted) if place != best]
    assert not any(equal(mine, theirs) for both in others for mine, theirs in zip(shipped, both))


def test_an_interruption_after_the_best_step_loses_neither_of_the_two(chain, scripted, monkeypatch):
    """The best of both is in the checkpoint that the training goes on from."""
    with_pair(chain, training={"keep": "best"})
    noted, step = scripted(0.9, 0.1, 0.1), Pair.step

    def cut(self, batch):
        if self.num_steps == EVALUATED[0] + 3:
            raise KeyboardInterrupt
        return step(self, batch)

    monkeypatch.setenv("LINEAGE_CHECKPOINT_SECONDS", "0.000001")
    with monkeypatch.context() as patch:
        patch.setattr(Pair, "step", cut)
        with pytest.raises(KeyboardInterrupt):
            learn_with_teacher(job("m1"))
    resumed, newest = [], Resume.newest
    monkeypatch.setattr(Resume, "newest", lambda self: resumed.append(newest(self)) or resumed[-1])
    learn_with_teacher(job("m1"))
    assert resumed[0] is not None and len(noted) == len(EVALUATED)
    shipped = [checkpoint.load(f"models/{n}")[0].state_dict() for n in ("m1", "m1-teacher")]
    assert [equal(*pair) for pair in zip(shipped, noted[0])] == [True, True]


@pytest.mark.parametrize("best", [0, 2])
def test_of_a_reduced_pair_the_calibrator_of_that_step_ships(chain, scripted, best):
    with_pair(chain, reduced=True, calibrator_width=8, training={"keep": "best"})
    noted = scripted(*[0.9 if place == best else 0.1 for place in range(len(EVALUATED))])
    learn_with_teacher(job("m1"))
    student, teacher = (checkpoint.load(f"models/{n}")[0] for n in ("m1", "m1-teacher"))
    assert equal(student.state_dict(), noted[best][0])
    assert equal(teacher.calibrator.state_dict(), noted[best][1])
    assert not equal(noted[0][1], noted[2][1])


@EVERY
def test_both_cards_say_what_corrected_the_teacher(chain, labels, feedback):
    with_pair(chain, labels, feedback, training={"steps": 2, "evaluate_every": 2})
    for card in learn_with_teacher(job("m1")):
        assert card["model"]["labels"] == labels
        assert card["model"]["feedback"] == feedback
        idle = labels == "soft" or feedback == "none"
        assert ("scale" in card["model"], "baseline_decay" in card["model"]) == (not idle,) * 2


def test_the_clean_end_is_of_the_student_alone(chain):
    tune = {"steps": 2, "learning_rate": 0.01, "image_size": 0}
    shipped = {}
    for name, spec in (("with", {"fine_tune": tune}), ("without", {})):
        with_pair(chain, **spec)
        shipped[name] = [card["sha256"] for card in learn_with_teacher(job("m1"))]
    assert shipped["with"][0] != shipped["without"][0]
    assert shipped["with"][1] == shipped["without"][1]
    assert checkpoint.read_card("models/m1")["training"]["steps"] == STEPS
