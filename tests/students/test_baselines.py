"""What a yardstick is given to train on, and what it says of itself."""

import json

import pytest
import torch
from conftest import read_curves, tiny_values, write_params

from pipeline.core.errors import UserError
from pipeline.data.batches import Batches
from pipeline.students import learn as self_training
from pipeline.training.learner import Learner
from stages import baseline

WEAK, STRONG = "WeakView", "StrongView"
OPTIONS = {
    "supervised": {},
    "pseudo_label": {"weight": 1.0, "threshold": 0.0, "start_step": 0, "ramp_steps": 0},
    "uda": {"weight": 1.0, "threshold": 0.0, "temperature": 0.5, "ramp_steps": 0},
    "fixmatch": {"weight": 1.0, "threshold": 0.0},
}
# the view of each part; 8 labelled images a step, 16 of each other part
PARTS = {
    "supervised": {"labelled": STRONG},
    "pseudo_label": {"labelled": STRONG, "unlabelled": STRONG},
    "uda": {"labelled": STRONG, "unlabelled": STRONG, "weak": WEAK},
    "fixmatch": {"labelled": STRONG, "unlabelled": STRONG, "weak": WEAK},
}


def write(folder, learner: str, **training) -> None:
    spec = {"learner": learner, "network": "small_cnn", "width": 0.25, "training": training}
    spec |= {learner: OPTIONS[learner]} if OPTIONS[learner] else {}
    write_params(folder, tiny_values() | {"baselines": {"b1": spec}})


@pytest.fixture
def given(monkeypatch) -> dict:
    """What `fit` was called with, the learner under `learner`, the streams under `streams`."""
    seen, fit = {}, self_training.fit

    def spy(learner, streams, *rest, **named):
        seen.update(learner=learner, streams=streams)
        return fit(learner, streams, *rest, **named)

    monkeypatch.setattr(self_training, "fit", spy)
    return seen


@pytest.mark.parametrize("learner", OPTIONS)
def test_a_yardstick_trains_by_its_method_on_its_views(chain, given, learner):
    write(chain, learner)
    baseline.main(["b1"])
    assert {n: type(s.view).__name__ for n, s in given["streams"].items()} == PARTS[learner]
    card = json.loads((chain / "models/b1/card.json").read_text())
    assert card["images_seen"] == 24 * (8 + 16 * (len(PARTS[learner]) - 1))
    assert ("unlabelled" in card["data"]["base"]) == (learner != "supervised")
    row = read_curves(chain / "models/b1/curves.csv")[-1]
    assert learner == "supervised" or float(row[learner]) > 0


@pytest.mark.parametrize("learner", ["uda", "fixmatch"])
def test_its_two_views_are_of_the_same_images(chain, given, learner):
    write(chain, learner)
    baseline.main(["b1"])
    parts = Batches(given["streams"], seed=0, model="b1")(60)  # in the second epoch
    assert torch.equal(parts["unlabelled"].rows, parts["weak"].rows)
    assert not torch.equal(parts["unlabelled"].images, parts["weak"].images)


def test_its_labelled_images_may_be_in_the_weak_view(chain, given):
    write(chain, "fixmatch", labelled_view="weak")
    baseline.main(["b1"])
    views = {name: type(stream.view).__name__ for name, stream in given["streams"].items()}
    assert views == PARTS["fixmatch"] | {"labelled": WEAK}


def test_the_clean_end_goes_on_from_the_averaged_weights_without_noise(chain, monkeypatch):
    begun, fit = [], self_training.fit

    def spy(learner: Learner, *rest, **named):
        begun.append((learner, {k: v.clone() for k, v in learner.network.state_dict().items()}))
        return fit(learner, *rest, **named)

    monkeypatch.setattr(self_training, "fit", spy)
    values = tiny_values()
    spec = {"learner": "supervised", "network": "resnet_9", "width": 0.05}
    spec |= {"training": {"stochastic_depth": 0.5, "keep": "last"}}
    spec |= {"fine_tune": {"steps": 2, "learning_rate": 0.01, "image_size": 0}}
    write_params(chain, values | {"baselines": {"b1": spec}})
    baseline.main(["b1"])
    (noisy, _), (clean, first) = begun
    assert noisy.ema is not None
    assert all(torch.equal(value, first[key]) for key, value in noisy.ema.state_dict().items())
    skips = [
        [m.skip for m in n.modules() if hasattr(m, "skip")] for n in (noisy.network, clean.network)
    ]
    assert skips == [[0.25, 0.5], [0.0, 0.0]] and clean.network.dropout == 0


def test_too_small_images_for_the_clean_end_are_refused_before_the_noisy_training(
    chain, monkeypatch
):
    monkeypatch.setattr(self_training, "fit", lambda *_, **__: pytest.fail("it trained"))
    values = tiny_values()
    spec = {"learner": "supervised", "network": "torchvision/densenet121"}
    spec |= {"training": {"image_size": 32}}
    spec |= {"fine_tune": {"steps": 2, "learning_rate": 0.01, "image_size": 16}}
    write_params(chain, values | {"baselines": {"b1": spec}})
    with pytest.raises(UserError, match="at least 29x29, these are 16x16"):
        baseline.main(["b1"])
