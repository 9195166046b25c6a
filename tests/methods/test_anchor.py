"""How hard weights may be pulled back, and means over labelled and unlabelled images."""

import pytest
import torch
from learners import TRAINING, FewImages, network, part, setting

from pipeline.methods.continual import CONTINUAL
from pipeline.methods.continual.anchor import drawn, limited, over_all
from pipeline.training.learner import Learner

RATE = 0.05


def test_what_would_overshoot_comes_back_in_one_step_and_the_rest_as_it_would():
    importance = {"w": torch.tensor([1e-9, 1.0, 10.0, 1e6])}
    [found] = limited([importance], curvature=4.0, rate=RATE, limit=1.0)
    torch.testing.assert_close(found["w"], torch.tensor([1e-9, 1.0, 5.0, 5.0]))
    assert 4.0 * found["w"].max() * RATE == pytest.approx(1.0)


def test_tasks_are_limited_together_each_by_the_same_factor():
    one, other = (
        {"w": torch.tensor([1.0, 30.0])},
        {"w": torch.tensor([2.0, 10.0]), "v": torch.ones(1)},
    )
    first, second = limited([one, other], curvature=1.0, rate=RATE, limit=1.0)
    torch.testing.assert_close(first["w"], torch.tensor([1.0, 15.0]))
    torch.testing.assert_close(second["w"], torch.tensor([2.0, 5.0]))
    assert second["v"] == 1


@pytest.mark.parametrize("importances", [[], [{"w": torch.tensor([1e6, 0.0])}]])
def test_without_a_limit_nothing_changes(importances):
    assert limited(importances, 1.0, RATE, 0.0) is importances
    [found] = limited([{"w": torch.zeros(2)}], 1.0, RATE, 1.0)
    assert not found["w"].any()


@pytest.mark.parametrize("name", ["ewc", "mas"])
@pytest.mark.parametrize("limit", [0.0, 1.0])
def test_a_weight_that_is_too_great_diverges_without_a_limit_and_holds_with_it(name, limit):
    """By momentum and real updates; the memory for later tasks is not limited."""
    made = network(heads={"base": 3, "t": 2})
    method = CONTINUAL[name](CONTINUAL[name].Options(weight=1000.0, limit=limit))
    method.finish(setting(made, [], slice(0, 3), images=FewImages()))
    kept = {key: value.clone() for key, value in method.state.items()}
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(1.5)  # far from where it was
    method.start(setting(made, [slice(0, 3)], slice(3, 5)))
    training = TRAINING.model_copy(update={"ema": 0.0, "dropout": 0.0, "weight_decay": 0.0})
    learner = Learner(made, training, methods={name: method})
    losses = [
        learner.step({"labelled": part(6, step, classes=2, columns=slice(3, 5))})[name].item()
        for step in range(20)
    ]
    assert (losses[-1] < 0.7 * losses[0]) == bool(limit)
    assert all(torch.equal(value, method.state[key]) for key, value in kept.items())


def test_a_mean_over_both_splits_counts_every_image_once():
    images = FewImages(unlabelled=5)
    brightness = over_all(images, lambda some: {"mean": some.double().mean()})["mean"]
    every = torch.cat([images.images("labelled"), images.images("unlabelled")])
    torch.testing.assert_close(brightness, every.double().mean())


@pytest.mark.parametrize("kind", ["tensor", "array"])
def test_of_many_images_as_many_as_asked_for_are_drawn_from_both_splits(kind):
    images, seen = FewImages(unlabelled=9), []
    if kind == "array":
        images._splits = {key: value.numpy() for key, value in images._splits.items()}

    def brightness(some):
        seen.append(torch.as_tensor(some).double())
        return {"mean": seen[-1].mean()}

    torch.manual_seed(0)
    means = [over_all(images, brightness, 6)["mean"] for _ in range(200)]
    assert sum(map(len, seen)) == 200 * 6
    assert len(torch.cat(seen[:2]).flatten(1).unique(dim=0)) == 6  # none twice
    torch.testing.assert_close(means[0], torch.cat(seen[:2]).mean())
    every = torch.cat([torch.as_tensor(images.images(s)) for s in ("labelled", "unlabelled")])
    wide = torch.stack(means).std() / 200**0.5
    assert abs(torch.stack(means).mean() - every.double().mean()) < 3 * wide


@pytest.mark.parametrize("most", [0, 18])
def test_where_there_are_no_more_all_are_taken_without_a_draw(most):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert drawn(18, most).tolist() == list(range(18))
    assert torch.equal(torch.get_rng_state(), before)
