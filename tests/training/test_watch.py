"""Answers of a model that learns nothing any more, and when they end a training."""

from contextlib import nullcontext
from math import inf, log
from types import SimpleNamespace

import pytest
import torch
from conftest import tiny_values, write_params
from learners import learner

from pipeline.core.errors import UserError
from pipeline.networks import checkpoint
from pipeline.training import fit, watch
from pipeline.training import learner as learner_module
from pipeline.training.watch import Watch, WentWrong, check_answers, check_loss
from stages import teacher

LABELS = torch.tensor([0, 1, 2, 0])
RIGHT = 5.0 * torch.eye(3)[LABELS]


def constant(scores) -> torch.Tensor:
    return torch.tensor([scores]).repeat(4, 1)


def varied(scores) -> torch.Tensor:
    return constant(scores) + 0.1 * torch.arange(4.0)[:, None] * torch.tensor([1.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("logits", "wrong"),
    [
        (RIGHT, ""),
        (varied([0.0, 0.5, 0.0]), ""),  # unsure: has not learnt much yet
        (varied([0.0, 9.0, 0.0]), "class 1"),  # sure of one class
        (constant([0.0, 0.0, 0.1]), "class 2"),  # says the same of all
    ],
)
def test_answers_of_one_class_that_are_sure_or_the_same_are_a_collapse(logits, wrong):
    said = f"all 4 val images are answered alike .{wrong}"
    with pytest.raises(WentWrong, match=said) if wrong else nullcontext():
        check_answers(logits, LABELS)


def test_val_images_of_one_class_may_be_answered_alike():
    check_answers(varied([9.0, 0.0, 0.0]), torch.zeros(4, dtype=torch.long))


def test_pixels_may_all_be_background():
    check_answers(torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.long))


def test_an_old_head_that_is_minus_infinity_for_others_is_no_collapse():
    logits = torch.tensor([[9.0, 1.0, -inf], [-inf, -inf, 1.0]])
    check_answers(logits, torch.tensor([0, 2]))


def test_a_loss_far_worse_than_a_guess_is_one_of_a_lost_model():
    check_loss(99 * log(4), 3)
    with pytest.raises(WentWrong, match="val loss is 140, where a guess has 1.4"):
        check_loss(101 * log(4), 3)
    with pytest.raises(WentWrong):
        check_loss(70.0, 1)


@pytest.mark.parametrize("now", [False, True])
def test_a_device_is_waited_for_now_and_then_and_the_step_is_named_all_the_same(now, monkeypatch):
    made = learner(steps=99)
    batches = SimpleNamespace(rows=lambda step: {"labelled": [step]})
    resume = SimpleNamespace(newest_step=lambda: None)
    looking, state = Watch(made, batches, "g1", resume), SimpleNamespace(since=[], first=None)
    looking._every = watch.EVERY  # as on a GPU
    for made.num_steps in range(1, 61):
        state.since.append({"loss": torch.tensor(1.0 if made.num_steps != 38 else float("nan"))})
        if now and made.num_steps == 40 or made.num_steps == watch.EVERY:
            with pytest.raises(UserError, match=r"g1, step 37: .* the loss is nan, 1 at first"):
                looking.look(state, now)
            return
        looking.look(state, now=False)
    raise AssertionError("it should have been seen")


@pytest.fixture
def teaching(chain, monkeypatch):
    """Trains a teacher whose logits on val are zeros for the first `alike` evaluations; each is
    after two steps."""
    real = fit.Val.logits

    def trained(alike, steps=12, few=0):
        values = tiny_values()
        values["teacher"]["training"] = {"steps": steps, "evaluate_every": 2}
        write_params(chain, values)
        left = iter(range(alike))

        def logits(*given):
            found = real(*given)
            return found if next(left, None) is None else torch.zeros_like(found)

        monkeypatch.setattr(fit.Val, "logits", logits)
        monkeypatch.setattr(learner_module, "FEW_STEPS", few)
        teacher.main()

    return trained


def test_a_collapse_ends_the_training_in_its_middle(teaching):
    with pytest.raises(UserError) as caught:
        teaching(alike=99)
    line = str(caught.value)
    assert line.startswith("error: teacher, step 5: training diverged: all ")
    assert "no checkpoint before it" in line and "; batch: labelled " in line


def test_what_looks_like_a_collapse_at_first_may_become_something(teaching):
    teaching(alike=2)


def test_a_training_of_few_steps_is_not_judged(teaching):
    teaching(alike=99, few=14)


@pytest.mark.parametrize("task", ["", "t1"])
def test_a_lost_model_is_seen_and_a_task_may_answer_by_its_own_class_alone(
    chain, monkeypatch, task
):
    card = checkpoint.read_card(f"models/{task or 'teacher'}")
    measured = fit.evaluation(card, torch.device("cpu"))
    made = learner(steps=200)
    made.num_steps = 150
    one = torch.zeros(1, sum(len(head["classes"]) for head in card["heads"]))
    one[0, 0] = 9.0
    monkeypatch.setattr(fit.Val, "logits", lambda val, *_: one.repeat(len(val.labels), 1))
    with nullcontext() if task else pytest.raises(WentWrong, match="alike"):
        measured(made)
    fit.evaluation(card, torch.device("cpu"), judges=False)(made)
    one[0, 0] = 1e4
    with pytest.raises(WentWrong, match="val loss"):
        measured(made)
