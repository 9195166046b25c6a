"""specialists: which subsets, what each is taught, what is written and refused."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
import torch
from conftest import STEPS, same_files, tiny_values, write_params
from jobs import job, learn_tasks, spy_on_fits
from stage_mains import card

from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.networks import checkpoint, evaluate
from pipeline.specialists import train
from pipeline.specialists.subsets import confused
from pipeline.training.learner import Learner
from stages import distill, ensemble, specialists

NAMED = [["0", "1"], ["2", "3", "4"]]


def write(folder, **spec) -> dict:
    values = tiny_values()
    values["specialists"] = {"s1": {"teacher": "g2"} | spec}
    write_params(folder, values)
    return values


def logits(name: str) -> torch.Tensor:
    network, _ = checkpoint.load(f"models/{name}")
    return evaluate.infer(network, store.load("data/prepared/base").array("val"))


# --- subsets ----------------------------------------------------------------------------------


def confusing(groups: list[list[int]], num: int, noise: float = 0.02) -> np.ndarray:
    """Answers that spread over the classes of a group."""
    rng, size = np.random.default_rng(0), max(map(max, groups)) + 1
    probs = np.full((num, size), noise)
    for row in probs:
        group = groups[rng.integers(len(groups))]
        row[group] += rng.dirichlet(np.ones(len(group)))
    return probs / probs.sum(1, keepdims=True)


def test_classes_that_get_probability_together_are_a_subset():
    groups = [[0, 3], [1, 4, 6], [2, 5]]
    probs = np.eye(7).repeat(30, 0)  # each class by itself, and confused within groups
    probs = 0.4 * probs + 0.6 * np.vstack(
        [np.eye(7)[next(g for g in groups if c in g)].mean(0) for c in range(7) for _ in range(30)]
    )
    assert confused(probs, 3, 0, "s1") == groups


def test_subsets_hold_every_class_once_and_are_found_again():
    probs = confusing([[0, 1], [2, 3, 4]], 200)
    found = confused(probs, 3, 0, "s1")
    assert sorted(c for subset in found for c in subset) == list(range(5)) and len(found) == 3
    assert found == confused(probs, 3, 0, "s1") == sorted(found)


# --- what each is taught ----------------------------------------------------------------------


def test_half_of_a_batch_is_of_the_subset(chain, monkeypatch):
    write(chain, subsets=NAMED, soft=0.25)
    seen = []
    spy_on_fits(monkeypatch, lambda learner, streams, phase: seen.append((learner, streams, phase)))
    specialists.main(["s1"])
    assert [phase for _, _, phase in seen] == ["specialist0", "specialist1"]
    dataset = store.load("data/prepared/base")
    labels = torch.from_numpy(dataset.array("labelled", "label").copy())
    network, _ = checkpoint.load("models/g2")
    said = {s: evaluate.infer(network, dataset.array(s)) for s in ("labelled", "unlabelled")}
    probs = {split: values.softmax(1) for split, values in said.items()}
    for (learner, streams, _), subset in zip(seen, [[0, 1], [2, 3, 4]]):
        parts = ["labelled_own", "labelled_others", "unlabelled_own", "unlabelled_others"]
        assert list(streams) == parts
        assert [stream.num for stream in streams.values()] == [4, 4, 8, 8]
        assert learner.loss_weights == dict.fromkeys(parts, 0.5)
        for name, stream in streams.items():
            split, _, part = name.partition("_")
            predicted = labels if split == "labelled" else probs[split].argmax(1)
            inside = torch.isin(predicted, torch.tensor(subset))
            rows = (inside if part == "own" else ~inside).nonzero()[:, 0]
            assert stream.index.tolist() == rows.tolist()
            others = [c for c in range(8) if c not in subset]
            wanted = probs[split]
            if split == "labelled":
                wanted = 0.75 * torch.eye(8)[labels] + 0.25 * wanted
            wanted = torch.cat([wanted[:, subset], wanted[:, others].sum(1, keepdim=True)], 1)
            torch.testing.assert_close(stream.targets, wanted[rows], atol=1e-5, rtol=1e-4)
            assert stream.soft


@pytest.mark.parametrize("init", ["teacher", "scratch"])
def test_specialists_begin_where_that_is_said(chain, monkeypatch, init):
    write(chain, subsets=NAMED, init=init)
    seen = []

    def note(learner, streams, phase):
        seen.append({k: v.clone() for k, v in learner.network.backbone.state_dict().items()})

    spy_on_fits(monkeypatch, note)
    specialists.main(["s1"])
    teacher = checkpoint.load("models/g2")[0].backbone.state_dict()
    for begun in seen:
        same = [key for key, value in begun.items() if value.equal(teacher[key])]
        assert (len(same) == len(begun)) == (init == "teacher")


def test_labelled_images_alone_are_seen_where_that_is_said(chain, monkeypatch):
    write(chain, subsets=NAMED, images="labelled", soft=0.0)
    seen = []
    spy_on_fits(monkeypatch, lambda learner, streams, phase: seen.append(streams))
    specialists.main(["s1"])
    for streams in seen:
        assert list(streams) == ["labelled_own", "labelled_others"]
        for stream in streams.values():
            assert not stream.soft and set(stream.targets.unique().tolist()) == {0.0, 1.0}
    assert set(card("s1")["data"]["base"]) == {"labelled", "val"}
    num = store.load("data/prepared/base").num("labelled")
    assert card("s1")["images_seen"] == 2 * STEPS * 8 + num


def test_images_of_all_trainings_and_of_the_teacher_are_counted(chain):
    write(chain, subsets=NAMED)
    specialists.main(["s1"])
    dataset = store.load("data/prepared/base")
    once = dataset.num("labelled") + dataset.num("unlabelled")
    assert card("s1")["images_seen"] == 2 * STEPS * (8 + 16) + once


def test_the_correction_of_the_dustbin_undoes_the_half_and_half(chain):
    """On counts: what is right of half-and-half batches becomes right of images as they come."""
    counts = np.array([[30.0, 10, 5], [8, 20, 100], [1, 2, 400], [9, 9, 9]])  # images, classes
    own, others = counts[:, :2].sum(), counts[:, 2].sum()
    drawn = counts * np.array([0.5 / own, 0.5 / own, 0.5 / others])  # the rate of each in a batch
    trained = np.log(drawn / drawn.sum(1, keepdims=True))
    trained[:, 2] += math.log(others / own)
    corrected = np.exp(trained) / np.exp(trained).sum(1, keepdims=True)
    wanted = counts / counts.sum(1, keepdims=True)
    np.testing.assert_allclose(corrected, wanted, rtol=1e-14)


def test_the_dustbin_of_what_is_written_is_corrected(chain, monkeypatch):
    write(chain, subsets=NAMED)
    before, streams = [], []

    def note(learner, given, phase):
        streams.append({name: len(stream) for name, stream in given.items()})

    spy_on_fits(monkeypatch, note)
    correct = train.corrected

    def noted(network, given):
        before.append(network.newest_head.bias.detach().clone())
        return correct(network, given)

    monkeypatch.setattr(train, "corrected", noted)
    specialists.main(["s1"])
    network, _ = checkpoint.load("models/s1")
    for member, bias, num in zip(network.members, before, streams):
        own = num["labelled_own"] + num["unlabelled_own"]
        others = num["labelled_others"] + num["unlabelled_others"]
        grown = torch.zeros(len(bias))
        grown[-1] = math.log(others / own)
        torch.testing.assert_close(member.newest_head.bias.detach(), bias + grown)


# --- what is written --------------------------------------------------------------------------


def test_the_card_says_of_whom_it_is_and_what_each_knows(chain):
    write(chain, num=3)
    specialists.main(["s1"])
    mine = card("s1")
    assert mine["parents"] == {"g2": card("g2")["sha256"]}
    assert sorted(c for subset in mine["subsets"] for c in subset) == list(range(8))
    for member, subset in zip(mine["members"], mine["subsets"]):
        assert member["heads"][0]["classes"] == [*map(str, subset), "others"]
        assert 0 <= member["val_acc"] <= 1
    labels = store.load("data/prepared/base").array("val", "label")
    right = (logits("s1").argmax(1).numpy() == labels).mean()
    assert mine["metrics"]["val_acc"] == pytest.approx(right)
    each = sum(p.numel() for p in checkpoint.load("models/g2")[0].parameters())
    assert mine["num_parameters"] > 3 * each
    generalist = checkpoint.load("models/s1")[0].generalist.state_dict()
    theirs = checkpoint.load("models/g2")[0].state_dict()
    assert all(generalist[key].equal(theirs[key]) for key in theirs)


def test_what_val_says_of_a_specialist_is_of_its_classes_and_others(chain):
    write(chain, subsets=NAMED)
    specialists.main(["s1"])
    network, mine = checkpoint.load("models/s1")
    dataset = store.load("data/prepared/base")
    labels = dataset.array("val", "label")
    member = network.members[1]
    with torch.no_grad():
        member.newest_head.bias[-1] -= correction([2, 3, 4])
    said = evaluate.infer(member, dataset.array("val")).argmax(1).numpy()
    wanted = np.array([[2, 3, 4].index(c) if c in (2, 3, 4) else 3 for c in labels])
    assert mine["members"][1]["val_acc"] == pytest.approx((said == wanted).mean())


def correction(subset: list[int]) -> float:
    """log(n_others / n_own) of the images that g2 and their labels put there."""
    dataset = store.load("data/prepared/base")
    network, _ = checkpoint.load("models/g2")
    said = evaluate.infer(network, dataset.array("unlabelled")).argmax(1).numpy()
    every = np.concatenate([dataset.array("labelled", "label"), said])
    own = np.isin(every, subset).sum()
    return math.log((len(every) - own) / own)


def test_experts_answer_without_their_teacher(chain):
    subsets = [["0", "1", "2", "3"], ["4", "5", "6", "7"]]
    write(chain, subsets=subsets, generalist=False)
    specialists.main(["s1"])
    network, mine = checkpoint.load("models/s1")
    assert mine["generalist"] is None and network.generalist is None
    images = torch.from_numpy(store.load("data/prepared/base").array("val")[:9].copy())
    with torch.no_grad():
        answers = [member(images).logits.softmax(1) for member in network.members]
        wanted = network.united(None, answers)
        torch.testing.assert_close(network(images).logits.exp(), wanted)


def test_they_teach_one_student_and_answer_with_others(chain):
    values = write(chain, subsets=NAMED)
    student = {"teacher": "s1", "network": "small_cnn", "width": 0.25, "methods": {"kd": {}}}
    values |= {"distilled": {"d1": student}, "ensembles": {"e1": {"first": "s1", "second": "b1"}}}
    write_params(chain, values)
    specialists.main(["s1"])
    distill.main(["d1"])
    ensemble.main(["e1"])
    assert card("d1")["parents"] == card("e1")["parents"] | {"b1": None} or card("d1")["parents"]
    mean = (logits("s1").softmax(1) + logits("b1").softmax(1)) / 2
    torch.testing.assert_close(logits("e1").softmax(1), mean, atol=1e-5, rtol=1e-4)


def test_killed_specialists_go_on_bit_for_bit(chain, monkeypatch):
    write(chain, subsets=NAMED)
    specialists.main(["s1"])
    shutil.copytree("models/s1", "whole")
    monkeypatch.setenv("LINEAGE_CHECKPOINT_SECONDS", "0.000001")
    for number in (0, 1):
        phases, step = [], Learner.step

        def stopping(learner, batch, phases=phases, step=step, number=number):
            if len(phases) == number + 1 and learner.num_steps == 5:
                raise KeyboardInterrupt
            return step(learner, batch)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            spy_on_fits(patch, lambda learner, streams, name, phases=phases: phases.append(name))
            patch.setattr(Learner, "step", stopping)
            specialists.main(["s1"])
        specialists.main(["s1"])
        same_files(chain / "models/s1", chain / "whole")


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"num": 9}, r"specialists\.s1\.num: 9 subsets of 8 classes; fix: set it to at most 8"),
        ({"subsets": [["0", "9"]]}, r"specialists\.s1\.subsets: there is no class '9'"),
        ({"subsets": [list("01234567")]}, r"specialists\.s1\.subsets: a subset has all classes"),
        ({"subsets": NAMED, "generalist": False}, "no expert knows 5, 6, 7"),
    ],
    ids=str,
)
def test_subsets_that_cannot_be_are_refused(chain, spec, says):
    write(chain, **spec)
    with pytest.raises(UserError, match=says):
        specialists.main(["s1"])


def test_a_teacher_of_several_networks_is_refused(chain):
    values = write(chain, teacher="e1")
    write_params(chain, values | {"ensembles": {"e1": {"first": "g2", "second": "b1"}}})
    ensemble.main(["e1"])
    with pytest.raises(UserError, match=r"models/e1/card.json: 'e1' is several networks"):
        train.specialise(job("s1"))


def test_a_teacher_that_learnt_a_task_is_refused(chain):
    write(chain, teacher="t1")
    learn_tasks("t1")
    with pytest.raises(UserError, match=r"models/t1/card.json: knows .* name a model of the base"):
        specialists.main(["s1"])
