"""Piggyback: old answers stay for ever, bit for bit, and the new head learns by masks."""

from dataclasses import replace

import pytest
import torch
from conftest import read_curves, run_stages, tiny_values, write_params
from jobs import extension, learn_tasks, with_tasks
from learners import TRAINING, copied, network, part, setting

from pipeline.continual.extend import extend
from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.methods.continual.piggyback import Piggyback
from pipeline.networks import checkpoint, temperature
from pipeline.networks.evaluate import infer
from pipeline.params.check import load
from pipeline.predict.model import load as load_model
from pipeline.training.learner import Learner

CALM = TRAINING.model_copy(update={"ema": 0.0, "dropout": 0.0, "weight_decay": 0.5})
RATE = 1000.0  # so that few steps shut some
TASK = {"scenario": "task", "methods": {"piggyback": {"rate": RATE}}}


def begun(made, **options) -> tuple[Piggyback, Learner]:
    method = Piggyback(Piggyback.Options(**options))
    method.start(setting(made, [slice(0, 3)], slice(3, 5), {"base": copied(made)}))
    return method, Learner(made, CALM, methods={"piggyback": method})


def updates(learner: Learner, num: int = 5) -> None:
    for step in range(num):
        learner.step({"labelled": part(6, step, classes=2, columns=slice(3, 5))})


def test_old_logits_stay_and_the_new_head_sees_less_and_less():
    made = network(heads={"base": 3, "t": 2})
    images = part(8, 9).images
    before = made.eval()(images).logits.detach().clone()
    _, learner = begun(made, rate=RATE)
    updates(learner)
    shut = [float((mask <= 0.005).float().mean()) for mask in made.masks.parameters()]
    assert 0 < max(shut) < 1
    made.eval()
    assert torch.equal(made(images).logits[:, :3], before[:, :3])
    assert not torch.equal(made(images).logits[:, 3:], before[:, 3:])


def test_statistics_of_batch_norm_that_move_would_change_old_answers():
    """What is so easily forgotten when weights are frozen: the very test above fails then."""
    made = network(heads={"base": 3, "t": 2})
    images = part(8, 9).images
    before = made.eval()(images).logits.detach().clone()
    _, learner = begun(made, rate=RATE)
    learner.frozen = []  # the mistake: weights without gradient, layers in training mode
    updates(learner)
    assert not torch.equal(made.eval()(images).logits[:, :3], before[:, :3])


def test_weight_decay_shuts_no_mask():
    """Of a weight that the loss does not ask for, here all: by decay alone, 0.5 * 0.05 a step."""
    made = network(heads={"base": 3, "t": 2})
    method, learner = begun(made)
    real = [mask.detach().clone() for mask in made.masks.parameters()]
    learner.optimizer.zero_grad()
    for weight in learner.trained_weights():
        weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
    head = made.head("t").weight.detach().clone()
    learner.advance()
    assert all(torch.equal(*pair) for pair in zip(real, made.masks.parameters()))
    assert not torch.equal(head, made.head("t").weight)


def test_what_ships_answers_as_what_was_trained():
    made = network(heads={"base": 3, "t": 2})
    method, learner = begun(made, rate=RATE)
    updates(learner)
    images, trained = part(8, 9).images, list(made.masks.parameters())
    before = made.eval()(images).logits.detach()
    method.finish(setting(made, [slice(0, 3)], slice(3, 5)))
    assert torch.equal(made(images).logits, before) and len(trained) == 6
    assert not list(made.masks.parameters()) and {m.dtype for m in made.masks.buffers()} == {
        torch.bool
    }


@pytest.fixture(scope="module")
def three(tmp_path_factory, plain_machine, quick_files):
    """A teacher of four digits and a chain of three tasks, two more each, by the real stages: with
    masks, with masks, and with a new head alone. Read only."""
    folder = tmp_path_factory.mktemp("three")
    values = tiny_values() | {"generations": {}, "meta_pseudo_labels": {}, "baselines": {}}
    values["data"] |= {"classes": [0, 1, 2, 3]}
    root = {"data": {"root": values["data"]["root"]}, "labels_per_class": 3}
    values |= {"tasks": {}, "final": "t3"}
    for name, base, classes in (("t1", "teacher", "45"), ("t2", "t1", "67"), ("t3", "t2", "89")):
        values["tasks"][name] = root | TASK | {"base": base, "classes": list(classes)}
    values["tasks"]["t3"] |= {"methods": {}, "training": {"train": "new_head"}}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_params(folder, values)
        run_stages("prepare", "teacher")
        learn_tasks("t1", "t2", "t3")
    return folder


NAMES = ["teacher", "t1", "t2", "t3"]


def test_over_a_chain_of_tasks_every_old_answer_stays(three, monkeypatch):
    monkeypatch.chdir(three)
    images = store.load("data/prepared/base").array("val")
    before = torch.empty(len(images), 0)
    for name in NAMES:
        network, card = checkpoint.load(f"models/{name}")
        logits = infer(network, images)
        assert (
            torch.equal(logits[:, : before.shape[1]], before) and logits.shape[1] > before.shape[1]
        )
        assert [head.get("masked", False) for head in card["heads"]] == [False, True, True, False][
            : len(card["heads"])
        ]
        assert card["num_parameters"] == sum(weight.numel() for weight in network.parameters())
        before = logits
    open_ = {
        n: [float(m.float().mean()) for m in masks.buffers()] for n, masks in network.masks.items()
    }
    assert list(open_) == ["task_t1", "task_t2"]
    assert all(min(shares) < 1 and max(shares) > 0 for shares in open_.values())


def test_it_is_served_and_predicts_as_it_was_measured(three, monkeypatch):
    """Softmax of each task's columns over the card's temperature; exported, the same."""
    monkeypatch.chdir(three)
    network, card = checkpoint.load("models/t2")
    images = store.load("data/prepared/t2").array("val")
    logits = infer(network, images)
    correct = logits[:, 6:8].argmax(1).numpy() == store.load("data/prepared/t2").array(
        "val", "label"
    )
    assert card["metrics"]["val_acc/t2"] == pytest.approx(correct.mean())
    model = load_model("models/t2")
    wanted = temperature.probabilities(logits[:, 6:8], temperature.of(card))
    columns = model.block("t2")[1]
    results = torch.from_numpy(model.probabilities(images.copy())[:, columns])
    torch.testing.assert_close(results, wanted)
    assert read_curves(three / "models/t2/curves.csv")[-1]["val_acc/t2"] == str(correct.mean())


def test_frozen_features_are_refused_where_heads_have_their_own(three, monkeypatch):
    monkeypatch.chdir(three)
    job = extension("t3")
    training = job.config.training.model_copy(update={"features": "frozen", "train": "all"})
    with pytest.raises(UserError, match="features of its own for t1, t2; fix: use trained"):
        extend(replace(job, config=replace(job.config, training=training)))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"training": {"train": "fc"}}, "piggyback trains the masks and the new head"),
        ({"methods": {"piggyback": {"start": 0.005}}}, "no weight is let through"),
        ({"methods": {"piggyback": {}, "lwf": {}}}, "lwf and piggyback"),
        ({"scenario": "class"}, "piggyback has no meaning with scenario: class"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_one_line(project, spec, words):
    with_tasks(project, t1=TASK | spec)
    with pytest.raises(UserError, match=words) as error:
        load()
    assert str(error.value).count("error:") == 1
