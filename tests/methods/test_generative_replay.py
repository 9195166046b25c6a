"""Generative replay: the generator, what it is trained on from task to task, and its share."""

from dataclasses import replace

import pytest
import torch
from jobs import extension, learn_tasks, spy_on_fits, with_tasks
from learners import TRAINING, copied, network, part, setting
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from pipeline.continual.extend import extend
from pipeline.methods.continual import generative_replay
from pipeline.methods.continual.autoencoder import Autoencoder, divergence, fit
from pipeline.methods.continual.generative_replay import GenerativeReplay
from pipeline.networks import checkpoint
from pipeline.training.learner import Learner, below, places
from pipeline.training.method import Blocks

CALM = TRAINING.model_copy(update={"ema": 0.0, "dropout": 0.0})
SMALL = {"latent": 4, "width": 4, "batch_size": 10, "steps": 3}


def method(**options) -> GenerativeReplay:
    return GenerativeReplay(GenerativeReplay.Options(**SMALL | options))


class Shades:
    """A task of images of one brightness."""

    def __init__(self, shade: int):
        images = torch.full((12, 1, 8, 8), shade, dtype=torch.uint8)
        self._splits = {"labelled": images[:4], "unlabelled": images[4:]}
        self.dataset = type("Dataset", (), {"image_shape": (1, 8, 8)})

    def images(self, split):
        return self._splits[split]


def task(images, old: list[slice], new: slice, **given):
    return replace(setting(network(), images=images), blocks=Blocks(old, new, new), **given)


# --- the generator --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28), (3, 33, 20), (1, 64, 64)])
def test_it_makes_images_of_any_shape(shape):
    made = Autoencoder(shape, 5, 2)
    images = made.sample(3)
    assert images.shape == (3, *shape) and images.min() >= 0 and images.max() <= 1
    assert made.decode(made.encode(images)[0]).shape == images.shape
    again = Autoencoder.of(made.state_dict(), shape)
    torch.manual_seed(1)
    wanted = made.sample(2)
    torch.manual_seed(1)
    assert torch.equal(again.sample(2), wanted)
    assert not any(w.requires_grad for w in again.parameters())


def test_its_loss_is_the_bound():
    """Of each image: sums over pixels and over what it is drawn from."""
    made, images = Autoencoder((1, 8, 8), 5, 2), torch.rand(3, 1, 8, 8)
    mean, log_variance = made.encode(images)
    gaussian = Normal(mean, (log_variance / 2).exp())
    kl = kl_divergence(gaussian, Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(divergence(mean, log_variance), kl)
    torch.manual_seed(3)
    results = made.loss(images)
    torch.manual_seed(3)
    logits = made.decode(mean + torch.randn_like(mean) * gaussian.scale)
    pixels = F.binary_cross_entropy(logits.sigmoid(), images, reduction="none").sum((1, 2, 3))
    torch.testing.assert_close(results, (pixels + kl).mean())
    assert abs(results - F.binary_cross_entropy(logits.sigmoid(), images)) > 1  # a known mistake


def test_training_makes_its_samples_like_the_images():
    torch.manual_seed(0)
    made = Autoencoder((1, 8, 8), 4, 4)
    fit(made, lambda: torch.full((10, 1, 8, 8), 0.9), 60, 0.01)
    assert (made.sample(20) - 0.9).abs().mean() < 0.1


# --- from task to task ----------------------------------------------------------------------------


def brightness(made: GenerativeReplay) -> torch.Tensor:
    """Of 200 samples of what it kept."""
    generator = Autoencoder.of(below(made.state, "generator/"), (1, 8, 8))
    return generator.sample(200).mean((1, 2, 3))


def test_the_generator_is_carried_from_task_to_task():
    """After a dark and a bright task it makes both; one that is trained anew, bright ones alone."""
    torch.manual_seed(0)
    longer = {"steps": 150, "learning_rate": 0.01}
    made, forgetful = method(**longer), method(**longer)
    made.finish(task(Shades(13), [], slice(0, 3)))
    assert int(made.state["classes"]) == 3 and (brightness(made) < 0.3).all()
    second = task(Shades(242), [slice(0, 3)], slice(3, 6))
    made.finish(second), forgetful.finish(second)
    dark = (brightness(made) < 0.3).float().mean()
    assert 0.2 < dark < 0.8 and int(made.state["classes"]) == 6
    assert not (brightness(forgetful) < 0.3).any()


@pytest.mark.parametrize(("importance", "real"), [(0.0, 4), (0.7, 7), (0.01, 1)])
def test_real_images_have_the_new_tasks_share_of_a_batch(monkeypatch, importance, real):
    """Two new classes and three old ones: 4 of 10."""
    made, batches = method(importance=importance), []
    made.finish(task(Shades(255), [], slice(0, 3)))
    monkeypatch.setattr(
        generative_replay, "fit", lambda model, batch, *rest: batches.append(batch())
    )
    monkeypatch.setattr(Autoencoder, "sample", lambda self, num: torch.zeros(num, 1, 8, 8))
    made.finish(task(Shades(255), [slice(0, 3)], slice(3, 5)))
    assert batches[0].mean((1, 2, 3)).tolist() == real * [1.0] + (10 - real) * [0.0]


# --- in training ----------------------------------------------------------------------------------


def begun(old: list[slice], new: slice, scenario: str = "class", **options):
    """The method as a task begins, its network and the old one."""
    made = network(heads={"base": 3, "t": 2})
    old_model = copied(made)
    with torch.no_grad():
        for weight in made.heads.parameters():
            weight.add_(torch.randn_like(weight))
    replayed = method(**options)
    replayed.finish(task(Shades(99), [], slice(0, 3)))
    where = task(Shades(99), old, new, scenario=scenario, teachers={"base": old_model})
    replayed.start(replace(where, network=made))
    return replayed, made, old_model


@pytest.mark.parametrize("labels", ["argmax", "soft"])
def test_new_and_generated_images_weigh_by_their_share(labels):
    """0.4 for the two new classes; the complement is another number."""
    replayed, made, old = begun([slice(0, 3)], slice(3, 5), labels=labels)
    learner = Learner(made, CALM, methods={"generative_replay": replayed})
    torch.manual_seed(7)
    batch = replayed.batch({"labelled": part(4, classes=5)})
    output, losses = learner.losses(batch)
    images, rows = batch["generated"].images, places(batch)["generated"]
    answers = old(images).logits[:, :3].softmax(1)
    if labels == "argmax":
        answers = torch.eye(3)[answers.argmax(1)]
    targets = torch.cat([answers, torch.zeros(len(images), 2)], 1)
    generated = F.cross_entropy(output.logits[rows], targets)
    torch.testing.assert_close(losses["generative_replay"], 0.6 * generated)
    torch.testing.assert_close(losses["loss"], 0.4 * losses["labelled"] + 0.6 * generated)
    assert abs(losses["loss"] - 0.6 * losses["labelled"] - 0.4 * generated) > 0.01
    narrow = F.cross_entropy(output.logits[rows, :3], answers)  # a mistake: the old logits alone
    assert abs(narrow - generated) > 0.01


def test_where_the_task_is_known_each_old_block_has_its_own_softmax():
    blocks = [slice(0, 2), slice(2, 3)]
    replayed, made, old = begun(blocks, slice(3, 5), "task", labels="soft")
    batch = replayed.batch({"labelled": part(4, classes=2, columns=slice(3, 5))})
    learner = Learner(made, CALM, methods={"generative_replay": replayed})
    output, losses = learner.losses(batch)
    logits = output.logits[places(batch)["generated"]]
    answers = old(batch["generated"].images).logits
    each = [F.cross_entropy(logits[:, b], answers[:, b].softmax(1)) for b in blocks]
    torch.testing.assert_close(losses["generative_replay"], 0.6 * sum(each) / 2)


def test_the_solver_and_the_generator_stay_as_they_are():
    replayed, made, old = begun([slice(0, 3)], slice(3, 5))
    before = [{k: v.clone() for k, v in m.state_dict().items()} for m in (old, replayed._generator)]
    learner = Learner(made, CALM, methods={"generative_replay": replayed})
    images = []
    for step in range(2):
        torch.manual_seed(step)
        learner.step({"labelled": part(4, step, classes=5)})
        torch.manual_seed(step)
        images.append(replayed.batch({})["generated"].images)
    assert not torch.equal(*images)  # drawn anew at each step
    for module, kept in zip((old, replayed._generator), before):
        assert all(torch.equal(value, kept[name]) for name, value in module.state_dict().items())
        assert all(weight.grad is None for weight in module.parameters())


def test_a_chain_of_tasks_carries_it_in_files(chain, monkeypatch):
    recipe = {"steps": 4, "evaluate_every": 4}
    one = {"classes": ["8"], "methods": {"generative_replay": SMALL}, "training": recipe}
    with_tasks(chain, t1=one, t2=one | {"base": "t1", "classes": ["9"]})
    learn_tasks("t1")
    card = checkpoint.read_card("models/t1")
    kept = below(checkpoint.load_memory("models/t1", card), "generative_replay/")
    assert int(kept["classes"]) == 9 and "unlabelled" in card["data"]["t1"]
    begun_with = []
    spy_on_fits(
        monkeypatch,
        lambda learner, *_: begun_with.append(learner.methods["generative_replay"]),
    )
    learn_tasks("t2")
    generator = begun_with[0]._generator.state_dict()
    assert all(torch.equal(value, kept[f"generator/{name}"]) for name, value in generator.items())
    assert begun_with[0].ce_weight == pytest.approx(0.1)
    assert (
        extend(extension("t2"))["images_seen"] == 4 * 3 * extension("t2").images.training.batch_size
    )
