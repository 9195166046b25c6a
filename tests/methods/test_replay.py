"""Replay: which images are kept against brute force, what they are replayed as, over real tasks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from jobs import extension, learn_tasks, spy_on_fits, with_tasks
from learners import network, setting

from pipeline.continual.extend import begin, extend
from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.methods.continual import exemplars
from pipeline.methods.continual.replay import Replay
from pipeline.networks import checkpoint
from pipeline.training.learner import below
from pipeline.training.method import Blocks

RECIPE = {"steps": 4, "evaluate_every": 4}
REPLAY = {"methods": {"replay": {"memory": 44}}, "training": RECIPE}
ONE, TWO = {"classes": ["8"]} | REPLAY, {"base": "t1", "classes": ["9"]} | REPLAY


def replay(**options) -> Replay:
    return Replay(Replay.Options(**options))


# --- which images ------------------------------------------------------------------------------


def brute_force(features: np.ndarray, num: int) -> list[int]:
    """Each next sample is the one whose addition leaves the mean of the chosen nearest to all's."""
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    chosen: list[int] = []
    while len(chosen) < num:
        rest = [row for row in range(len(units)) if row not in chosen]
        distances = [np.linalg.norm(units.mean(0) - units[[*chosen, row]].mean(0)) for row in rest]
        chosen.append(rest[int(np.argmin(distances))])
    return chosen


@pytest.mark.parametrize("num", [1, 5, 12])
def test_herding_equals_brute_force(rng, num):
    features = rng.normal(size=(12, 3)) + [0.5, 0, 0]
    chosen = exemplars.herd(torch.from_numpy(features), num)
    assert chosen == brute_force(features, num)
    if num == 5:  # a known mistake: the nearest to the mean one by one, not together
        units = features / np.linalg.norm(features, axis=1, keepdims=True)
        nearest = np.linalg.norm(units - units.mean(0), axis=1).argsort()[:num].tolist()
        assert set(chosen) != set(nearest)


def test_herding_looks_at_directions_alone(rng):
    features = torch.from_numpy(rng.normal(size=(9, 4)) + 1)
    longer = features * torch.arange(1, 10)[:, None]
    assert exemplars.herd(features, 5) == exemplars.herd(longer, 5)


def memory_of(name: str) -> dict[str, torch.Tensor]:
    stored = checkpoint.load_memory(f"models/{name}", checkpoint.read_card(f"models/{name}"))
    return below(stored, "replay/")


def rows_of(memory: dict, label: int) -> dict[str, torch.Tensor]:
    return {name: value[memory["label"] == label] for name, value in memory.items()}


def test_shares_shrink_from_task_to_task_and_the_first_stay(chain):
    """27 images: 3 of each of 9 classes, then 2 of each of 10."""
    fewer = {"methods": {"replay": {"memory": 27}}}
    with_tasks(chain, t1=ONE | fewer, t2=TWO | fewer)
    learn_tasks("t1", "t2")
    one, two = memory_of("t1"), memory_of("t2")
    assert one["label"].bincount().tolist() == 9 * [3]
    assert two["label"].bincount().tolist() == 10 * [2]
    assert one["target"].shape[1] == 9 and two["target"].shape[1] == 10
    for label in range(9):
        before, after = rows_of(one, label), rows_of(two, label)
        for name in ("image", "sure", "home"):
            assert torch.equal(before[name][:2], after[name])
        assert torch.equal(before["target"][:2], after["target"][:, :9])
        assert not after["target"][:, 9:].any()
    assert two["home"].unique(dim=0).tolist() == [[0, 0, 8], [1, 8, 9], [2, 9, 10]]


def test_what_is_kept_first_stays_longest():
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    home = torch.tensor([[0, 0, 2]]).repeat(6, 1)
    memory = {"image": torch.arange(6), "label": labels, "home": home}
    assert exemplars.shrunk(memory, 2)["image"].tolist() == [0, 1, 3, 4]


def test_the_rest_of_a_share_are_the_surest_unlabelled_images_the_model_calls_that(chain):
    """Three labelled images of a class and a share of four: one more, with soft targets."""
    with_tasks(chain, t1=ONE)
    learn_tasks("t1")
    memory, job = memory_of("t1"), extension()
    shipped, _ = checkpoint.load("models/t1")
    own = rows_of(memory, 8)
    assert own["sure"].tolist() == [True, True, True, False]
    unlabelled = torch.from_numpy(job.dataset.array("unlabelled").copy())
    with torch.no_grad():
        answers = shipped(unlabelled).logits.softmax(1)
    called = (answers.argmax(1) == 8).nonzero().flatten()
    best = called[answers[called, 8].argmax()]
    assert torch.equal(own["image"][3], unlabelled[best])
    torch.testing.assert_close(own["target"][3], answers[best])
    assert own["target"][:3].tolist() == 3 * [[0.0] * 8 + [1.0]]
    assert "unlabelled" in checkpoint.read_card("models/t1")["data"]["t1"]


def test_without_unlabelled_images_there_are_fewer(chain):
    block = {"methods": {"replay": {"memory": 44, "unlabelled": False}}}
    with_tasks(chain, t1=ONE | block)
    learn_tasks("t1")
    memory = memory_of("t1")
    assert memory["sure"].all() and rows_of(memory, 8)["label"].tolist() == 3 * [8]
    assert "unlabelled" not in checkpoint.read_card("models/t1")["data"]["t1"]


def test_a_memory_smaller_than_the_classes_is_refused_before_the_training(chain):
    with_tasks(chain, t1=ONE | {"methods": {"replay": {"memory": 8}}})
    fits = []
    with pytest.MonkeyPatch.context() as patch, pytest.raises(UserError) as caught:
        spy_on_fits(patch, lambda *given: fits.append(given))
        learn_tasks("t1")
    [line] = caught.value.lines
    assert "methods.replay.memory" in line and "raise it to 9" in line and not fits


# --- what is replayed ---------------------------------------------------------------------------


def streams_of(chain, scenario: str, **options) -> tuple[Replay, dict, object]:
    """What replay brings to the third task of a chain."""
    with_tasks(chain, t1={"scenario": scenario} | REPLAY)
    learn_tasks("t1")
    made = replay(memory=44)
    made.state = memory_of("t1")
    where = replace(
        setting(network(), [slice(0, 8), slice(8, 10)], slice(10, 12), images=extension().images),
        blocks=Blocks([slice(0, 8), slice(8, 10)], slice(10, 12), slice(10, 12)),
        scenario=scenario,
    )
    made.start(where)
    return made, made.streams(where), where


def test_one_softmax_over_all_classes_where_answers_range_over_all(chain):
    made, streams, where = streams_of(chain, "class")
    assert set(streams) == {"replay", "replay_soft"}
    assert [s.soft for s in streams.values()] == [False, True]
    for stream in streams.values():
        assert stream.columns == slice(0, 12) and stream.targets.shape[1] == 12
        labels = made.state["label"][stream.index]
        assert torch.equal(stream.targets.argmax(1), labels)
        assert not stream.targets[:, 10:].any()
    assert streams["replay"].view is where.images.labelled_view
    assert streams["replay_soft"].view is where.images.strong


def test_where_the_task_is_known_each_exemplar_has_its_own_block(chain):
    made, streams, _ = streams_of(chain, "task")
    columns = {name: stream.columns for name, stream in streams.items()}
    assert columns["replay"] == slice(0, 8) and columns["replay_1"] == slice(8, 10)
    for stream in streams.values():
        labels = made.state["label"][stream.index] - stream.columns.start
        assert torch.equal(stream.targets.argmax(1), labels)
        torch.testing.assert_close(stream.targets.sum(1), torch.ones(len(labels)))


def test_together_they_weigh_as_asked_and_each_image_as_another(chain):
    made, streams, where = streams_of(chain, "class")
    nums = {name: stream.num for name, stream in streams.items()}
    assert sum(nums.values()) == where.training.batch_size
    for stream in streams.values():
        wanted = torch.full((len(stream),), stream.num / sum(nums.values()))
        torch.testing.assert_close(stream.weights, wanted)
    more = replay(memory=44, ratio=2.0, weight=3.0)
    more.state = made.state
    again = more.streams(where)
    assert sum(s.num for s in again.values()) == 2 * where.training.batch_size
    total = sum(float(s.weights[0]) for s in again.values())
    assert total == pytest.approx(3.0)
    own = replay(memory=44, unlabelled=False, weight=3.0)
    own.state = {key: value[made.state["sure"]] for key, value in made.state.items()}
    assert set(own.streams(where)["replay"].weights.tolist()) == {3.0}


@pytest.mark.parametrize("scenario", ["class", "task"])
def test_new_images_are_told_from_old_ones_unless_the_task_is_known(chain, scenario):
    with_tasks(chain, t1={"scenario": scenario} | REPLAY)
    job = extension()
    trained = begin(job, {"replay": replay(memory=44)}).blocks.trained
    assert trained == (slice(0, 10) if scenario == "class" else slice(8, 10))


def test_it_keeps_old_classes_that_plain_training_forgets(chain):
    """Of a task of two new classes, by the accuracy on the old ones."""
    recipe = {"steps": 40, "evaluate_every": 40, "ema": 0.0}
    kept = []
    for methods in ({}, {"replay": {"memory": 100}}):
        with_tasks(chain, t1={"methods": methods, "training": recipe, "ce_over": "all"})
        extend(extension())
        shipped, _ = checkpoint.load("models/t1")
        base = store.load("data/prepared/base")
        with torch.no_grad():
            answers = shipped(torch.from_numpy(base.array("val").copy())).logits.argmax(1)
        kept.append(float((answers.numpy() == base.array("val", "label")).mean()))
    assert kept[1] > kept[0] + 0.1
