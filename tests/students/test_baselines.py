"""What a model that learns by methods is given to train on, and what it says of itself."""

import json

import pytest
import torch
from conftest import STEPS, read_curves, tiny_values, write_params
from jobs import spy_on_fits

from pipeline.core.errors import UserError
from pipeline.data.batches import Batches
from pipeline.training.fit import Trainings
from stages import baseline, teacher

WEAK, STRONG = "WeakView", "StrongView"
METHODS = {
    "supervised": {},
    "pseudo_label": {"pseudo_label": {"start_step": 0, "ramp_steps": 0}},
    "uda": {"uda": {"threshold": 0.0}},
    "fixmatch": {"fixmatch": {"threshold": 0.0}},
    "flexmatch": {"flexmatch": {"threshold": 0.0}},
    "freematch": {"freematch": {}},
    "softmatch": {"softmatch": {}},
    "mean_teacher": {"mean_teacher": {}},
    "both": {"pseudo_label": {"start_step": 0}, "uda": {"threshold": 0.0}},
}
TWO_VIEWS = {"labelled": STRONG, "unlabelled": STRONG, "weak": WEAK}
# the view of each part; 8 labelled images a step, 16 of each other part but views of those 8
VIEWS = {
    "supervised": {"labelled": STRONG},
    "pseudo_label": {"labelled": STRONG, "unlabelled": STRONG},
    "uda": TWO_VIEWS,
    "fixmatch": TWO_VIEWS,
    "flexmatch": TWO_VIEWS,
    "freematch": TWO_VIEWS,
    "softmatch": TWO_VIEWS,
    "mean_teacher": TWO_VIEWS | {"labelled_weak": WEAK},
    "both": TWO_VIEWS,
}
EVERY = pytest.mark.parametrize("name", METHODS)


def write(folder, block: str, name: str, **training) -> None:
    spec = {"network": "small_cnn", "width": 0.25, "training": training, "methods": METHODS[name]}
    write_params(folder, tiny_values() | {block: {"b1": spec} if block == "baselines" else spec})


@pytest.fixture
def given(monkeypatch) -> dict:
    """What was trained: the learner under `learner`, the streams under `streams`."""
    seen = {}
    spy_on_fits(
        monkeypatch, lambda learner, streams, _: seen.update(learner=learner, streams=streams)
    )
    return seen


@EVERY
@pytest.mark.parametrize("block", ["baselines", "teacher"])
def test_a_baseline_or_a_teacher_trains_by_its_methods_on_their_views(chain, given, block, name):
    write(chain, block, name)
    baseline.main(["b1"]) if block == "baselines" else teacher.main()
    assert {n: type(s.view).__name__ for n, s in given["streams"].items()} == VIEWS[name]
    model = "b1" if block == "baselines" else "teacher"
    card = json.loads((chain / f"models/{model}/card.json").read_text())
    sizes = [8 if part.startswith("labelled") else 16 for part in VIEWS[name]]
    assert card["images_seen"] == STEPS * sum(sizes)
    assert ("unlabelled" in card["data"]["base"]) == (name != "supervised")
    assert set(card["model"]["methods"]) == set(METHODS[name])
    row = read_curves(chain / f"models/{model}/curves.csv")[-1]
    assert all(float(row[method]) > 0 for method in METHODS[name])


@pytest.mark.parametrize("name", [name for name in VIEWS if "weak" in VIEWS[name]])
def test_its_two_views_are_of_the_same_images(chain, given, name):
    write(chain, "baselines", name)
    baseline.main(["b1"])
    parts = Batches(given["streams"], seed=0, model="b1")(60)  # in the second epoch
    assert torch.equal(parts["unlabelled"].rows, parts["weak"].rows)
    assert not torch.equal(parts["unlabelled"].images, parts["weak"].images)


def test_its_labelled_images_may_be_in_the_weak_view(chain, given):
    write(chain, "baselines", "fixmatch", labelled_view="weak")
    baseline.main(["b1"])
    views = {name: type(stream.view).__name__ for name, stream in given["streams"].items()}
    assert views == VIEWS["fixmatch"] | {"labelled": WEAK}


def test_the_clean_end_goes_on_from_the_averaged_weights_without_noise(chain, monkeypatch):
    begun = []

    def note(learner, *_):
        begun.append((learner, {k: v.clone() for k, v in learner.network.state_dict().items()}))

    spy_on_fits(monkeypatch, note)
    spec = {"network": "resnet_9", "width": 0.05}
    spec |= {"training": {"stochastic_depth": 0.5, "keep": "last"}}
    spec |= {"fine_tune": {"steps": 2, "learning_rate": 0.01, "image_size": 0}}
    write_params(chain, tiny_values() | {"baselines": {"b1": spec}})
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
    monkeypatch.setattr(Trainings, "fit", lambda *_, **__: pytest.fail("it trained"))
    spec = {"network": "torchvision/densenet121", "training": {"image_size": 32}}
    spec |= {"fine_tune": {"steps": 2, "learning_rate": 0.01, "image_size": 16}}
    write_params(chain, tiny_values() | {"baselines": {"b1": spec}})
    with pytest.raises(UserError, match="at least 29x29, these are 16x16"):
        baseline.main(["b1"])
