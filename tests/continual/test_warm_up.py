"""A task's warm-up: the new head alone, before all others."""

import copy

import pytest
import torch
from jobs import extension, spy_on_fits, with_tasks

from pipeline.continual.extend import extend
from pipeline.networks import checkpoint
from pipeline.training.learner import HeadLearner, Learner
from pipeline.training.optimizer import learning_rate

HEAD = {"heads.task_t1.weight", "heads.task_t1.bias"}


@pytest.fixture
def fits(monkeypatch) -> list:
    """The trainings of a task: learner, weights at its start, streams, phase."""
    begun = []

    def note(learner, streams, phase):
        begun.append((learner, copy.deepcopy(learner.network.state_dict()), streams, phase))

    spy_on_fits(monkeypatch, note)
    return begun


def test_it_moves_the_new_head_alone(chain, fits):
    """No old weight and no running statistics, in the steps that the method asks for."""
    extend(extension())
    (head, before, streams, phase), (main, after, _, last) = fits
    assert type(head) is HeadLearner and type(main) is Learner and (phase, last) == ("head", "")
    assert {name for name in before if not torch.equal(before[name], after[name])} == HEAD
    assert head.num_steps == 5 and list(streams) == ["labelled"]
    old, _ = checkpoint.load("models/g2")
    assert all(torch.equal(value, after[name]) for name, value in old.state_dict().items())


def test_it_is_in_evaluation_mode_without_dropout(chain, fits, monkeypatch):
    modes, forward = [], HeadLearner.forward
    monkeypatch.setattr(
        HeadLearner,
        "forward",
        lambda s, *given: modes.append(s.network.training) or forward(s, *given),
    )
    extend(extension())
    assert modes == [False] * 5 and fits[0][0].network.dropout == 0.3


def test_its_rate_is_the_recipes_peak_and_falls_to_nothing(chain, fits, monkeypatch):
    rates, advance = [], HeadLearner.advance

    def noted(self):
        advance(self)
        rates.append({group["lr"] for group in self.optimizer.param_groups})

    with_tasks(
        chain, t1={"methods": {"lwf": {"warmup_steps": 4}}, "training": {"learning_rate": 0.2}}
    )
    with monkeypatch.context() as patch:
        patch.setattr(HeadLearner, "advance", noted)
        extend(extension())
    recipe = extension().config.training.model_copy(update={"steps": 4, "warmup_steps": 0})
    assert rates == [{learning_rate(recipe, step)} for step in range(4)]
    assert rates[0] == {0.2}


@pytest.mark.parametrize("methods", [{}, {"lwf": {"warmup_steps": 0}}, {"uda": {}}])
def test_without_a_method_that_asks_for_it_there_is_none(chain, fits, methods):
    with_tasks(chain, t1={"methods": methods})
    extend(extension())
    assert [phase for *_, phase in fits] == [""]


def test_no_average_of_weights_is_kept(chain, fits):
    with_tasks(chain, t1={"methods": {"lwf": {}}, "training": {"ema": 0.9}})
    extend(extension())
    assert [learner.ema is None for learner, *_ in fits] == [True, False]


def test_the_warm_up_is_not_in_the_curve(chain):
    card = extend(extension())
    text = (chain / "models/t1/curves.csv").read_text().splitlines()
    assert text[1].startswith("8,") and len(text) == 1 + card["training"]["steps"] // 8
