"""Known classes in images of another kind, tasks of a source of their own, all data at once."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from jobs import extension, learn_tasks, spy_on_fits, with_tasks
from sklearn.datasets import load_digits

from pipeline.continual import own_labels
from pipeline.continual.extend import begin, extend
from pipeline.continual.labelled import labelled
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.data import tasks
from pipeline.labelling import transforms
from pipeline.networks import checkpoint
from pipeline.params.check import load
from stages import prepare_task, report

OLD = [str(digit) for digit in range(8)]
DOMAIN = {"scenario": "domain", "classes": OLD}


@pytest.fixture
def negatives(chain) -> dict:
    """The block `data` of images of another source: the digits, black and white exchanged."""
    images, labels = load_digits(return_X_y=True)
    pixels = 255 - (images.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)
    np.savez("negatives.npz", image=pixels, label=labels.astype(str))
    return {"source": "arrays", "root": str(chain / "negatives.npz")}


def test_a_domain_is_answered_by_the_head_that_is_there(chain, negatives, monkeypatch):
    """Nothing grows, so there is no new head to warm up; the next task's head does; the matrix says
    how it was answered before."""
    phases = []
    spy_on_fits(monkeypatch, lambda learner, streams, phase: phases.append(phase))
    one = {"classes": ["8", "9"], "base": "d1"}
    with_tasks(chain, d1=DOMAIN | {"data": negatives, "methods": {"lwf": {}}}, t1=one)
    learn_tasks("d1", "t1")
    assert phases == ["", ""]
    card, before = (checkpoint.read_card(f"models/{name}") for name in ("d1", "g2"))
    assert card["heads"] == before["heads"] and card["tasks"] == [["d1", "base"]]
    moved, old = (checkpoint.load(f"models/{name}")[0].state_dict() for name in ("d1", "g2"))
    assert moved.keys() == old.keys() and not torch.equal(
        *[m["heads.task_base.bias"] for m in (moved, old)]
    )
    after = checkpoint.read_card("models/t1")
    assert tasks.learnt(after) == [("base", "base"), ("d1", "base"), ("t1", "t1")]
    known = tasks.known(after, "val")
    assert [task.columns for task in known] == [slice(0, 8), slice(0, 8), slice(8, 10)]
    report.main()
    metrics = files.read_json("report/metrics.json")
    assert {"task_acc/t1/d1", "fwt/d1", "fwt/t1", "val_score/t1"} <= set(metrics)
    network, _ = checkpoint.load("models/g2")
    with torch.no_grad():
        right = network(known[1].images).logits.argmax(1) == known[1].labels
    assert metrics["val_fwt/d1"] == pytest.approx(float(right.double().mean()) - 1 / 8, abs=1e-6)
    page = (chain / "report/html/index.html").read_text(encoding="utf-8")
    assert "with 2 new tasks" in page and "new images: 0, 1" in page and "+ 8, 9" in page


def test_a_domain_replays_each_class_of_the_images_before(chain, negatives, monkeypatch):
    """They are answered by the one head; afterwards a class has a share of each kind of images."""
    methods = {"replay": {"memory": 32, "ratio": 2}}
    with_tasks(chain, d1=DOMAIN | {"data": negatives, "methods": methods})
    streams = {}
    spy_on_fits(monkeypatch, lambda learner, given, phase: streams.update(given))
    learn_tasks("d1")
    replayed = [streams[name] for name in ("replay", "replay_soft") if name in streams]
    assert [stream.columns for stream in replayed] == [slice(0, 8)] * 2
    assert sum(stream.num for stream in replayed) == 2 * load().config("d1").training.batch_size
    kept = checkpoint.load_memory("models/d1", checkpoint.read_card("models/d1"))
    pairs = np.stack([kept["replay/home"][:, 0], kept["replay/label"]], 1)
    values, counts = np.unique(pairs, axis=0, return_counts=True)
    assert len(values) == 16 and set(counts) == {2}


def test_a_domain_of_other_classes_is_refused_with_those_there_are(chain, negatives):
    with_tasks(chain, d1=DOMAIN | {"data": negatives, "classes": OLD[:4]})
    with pytest.raises(UserError, match="no head of just the classes 0, 1, 2, 3; fix: .*: 0, 1"):
        load()
    with_tasks(chain, d1=DOMAIN)
    with pytest.raises(UserError, match="'d1' is to have images of another kind than 'base'"):
        load()


def test_a_task_of_its_own_source_takes_its_images_there(chain, negatives):
    with_tasks(chain, t1={"data": negatives})
    prepare_task.main(["t1"])
    image = tasks.dataset("t1").array("labelled")
    assert image.mean() > 128  # white, not black
    assert tasks.dataset("t1").classes == ["8", "9"]


@pytest.mark.parametrize(
    ("scenario", "old", "new"),
    [("class", slice(0, 10), slice(0, 10)), ("task", slice(0, 8), slice(8, 10))],
)
def test_joint_training_has_the_old_labelled_images_too(chain, scenario, old, new):
    """As many of each task in a batch as there are for each new one, over all logits or its own."""
    with_tasks(chain, t1={"joint": True, "scenario": scenario})
    prepare_task.main(["t1"])
    job = extension()
    streams = labelled(job, begin(job, {}))
    assert list(streams) == ["labelled", "joint_base"]
    base, own = tasks.dataset("base"), job.dataset
    assert streams["labelled"].columns == new and streams["joint_base"].columns == old
    assert torch.equal(
        streams["joint_base"].targets.argmax(1),
        torch.from_numpy(base.array("labelled", "label").copy()),
    )
    first = 8 - new.start
    given = torch.from_numpy(own.array("labelled", "label").copy())
    assert torch.equal(streams["labelled"].targets.argmax(1), given + first)
    batch = job.config.training.batch_size
    assert streams["joint_base"].num == round(batch * base.num("labelled") / own.num("labelled"))


def test_joint_training_has_every_earlier_task(chain):
    """Each in its own logits where the task is known."""
    with_tasks(chain, t1={"classes": ["8"]}, t2={"base": "t1", "classes": ["9"], "joint": True})
    learn_tasks("t1")
    prepare_task.main(["t2"])
    job = extension("t2")
    wanted = {"class": [slice(0, 10)] * 2, "task": [slice(0, 8), slice(8, 9)]}
    for scenario, columns in wanted.items():
        options = job.task.model_copy(update={"scenario": scenario})
        other = replace(job, config=replace(job.config, options=options))
        streams = labelled(other, begin(other, {}))
        joint = [streams[f"joint_{name}"] for name in ("base", "t1")]
        assert [stream.columns for stream in joint] == columns
        assert set(joint[1].targets.argmax(1).tolist()) == {8 - joint[1].columns.start}


def test_old_heads_may_stay_as_they_were(chain):
    with_tasks(chain, t1={"old_heads": "frozen", "methods": {"lwf": {"warmup_steps": 2}}})
    learn_tasks("t1")
    before, after = (checkpoint.load(f"models/{name}")[0].state_dict() for name in ("g2", "t1"))
    still = {key for key in before if torch.equal(before[key], after[key])}
    assert still >= {"heads.task_base.weight", "heads.task_base.bias"}
    assert "backbone.layers.0.weight" not in still


def test_what_a_task_learnt_labels_its_own_unlabelled_images(chain, monkeypatch):
    """The first training labels, the base begins anew; labels are of the new classes alone."""
    with_tasks(chain, t1={"label_with": "self", "methods": {"lwf": {"warmup_steps": 2}}})
    learn_tasks("t1")  # by the stage, which gives it the rule
    card = checkpoint.read_card("models/t1")
    assert set(card["data"]["t1"]) == {"labelled", "unlabelled", "val"}
    fits, made, make = [], [], own_labels.pseudo_labels.make

    def noted(*given):
        made.append(make(*given))
        return made[-1]

    monkeypatch.setattr(own_labels.pseudo_labels, "make", noted)
    spy_on_fits(monkeypatch, lambda learner, streams, phase: fits.append((phase, streams)))
    job = extension()
    assert job.rule is not None
    extend(job)
    assert [phase for phase, _ in fits] == ["first-head", "first", "head", ""]
    assert ["pseudo" in streams for _, streams in fits] == [False, False, False, True]
    pseudo = fits[-1][1]["pseudo"]
    assert pseudo.columns == slice(8, 10) and pseudo.targets.shape[1] == 2
    assert pseudo.num == job.config.training.num_unlabelled
    assert pseudo.soft and pseudo.weights.tolist() == made[-1].weight.tolist()
    assert type(pseudo.view).__name__ == "StrongView"


def every_second_is_called_old(monkeypatch) -> int:
    """Of the unlabelled images of t1; the others are called 8. Returns their number."""
    prepare_task.main(["t1"])
    num = tasks.dataset("t1").num("unlabelled")
    probs = np.tile(np.eye(10)[8] * 0.5 + 0.05, (num, 1))
    probs[::2, 0] = 9.0
    probs /= probs.sum(1, keepdims=True)
    answers = transforms.Answers(probs, np.zeros(num))
    monkeypatch.setattr(own_labels.transforms, "answers", lambda *_: answers)
    return num


@pytest.mark.parametrize("scenario", ["class", "task"])
def test_images_called_an_old_class_are_not_labelled_as_new(chain, monkeypatch, scenario):
    """Where the task is known, all are new; what is labelled is called 8 wherever that stands."""
    over = {"ce_over": "all"} if scenario == "class" else {}
    with_tasks(chain, t1={"label_with": "self", "scenario": scenario, **over})
    every_second_is_called_old(monkeypatch)
    fits = []
    spy_on_fits(monkeypatch, lambda learner, streams, phase: fits.append(streams))
    extend(extension())
    pseudo = fits[-1]["pseudo"]
    assert {int(row) % 2 for row in pseudo.index} == ({1} if scenario == "class" else {0, 1})
    assert pseudo.columns == (slice(0, 10) if scenario == "class" else slice(8, 10))
    assert set(pseudo.targets.argmax(1).tolist()) == {8 - pseudo.columns.start}
    assert not pseudo.targets[:, : 8 - pseudo.columns.start].any()


def test_images_called_an_old_class_stay_out_beside_a_filter_of_strangers(chain, monkeypatch):
    with_tasks(
        chain, t1={"label_with": "self", "labels": {"ood_filter": "threshold", "kind": "hard"}}
    )
    num = every_second_is_called_old(monkeypatch)
    first_half = np.arange(num) < num // 2
    screened = SimpleNamespace(passes=first_half)
    monkeypatch.setattr(own_labels.foreign, "screen", lambda *_: screened)
    fits = []
    spy_on_fits(monkeypatch, lambda learner, streams, phase: fits.append(streams))
    extend(extension())
    assert not fits[-1]["pseudo"].soft
    index = fits[-1]["pseudo"].index
    assert len(index) and all(row % 2 == 1 and first_half[row] for row in index)


def test_a_task_whose_images_are_all_called_old_is_told_so(chain, monkeypatch):
    with_tasks(chain, t1={"label_with": "self"})
    prepare_task.main(["t1"])
    num = tasks.dataset("t1").num("unlabelled")
    answers = transforms.Answers(np.eye(10)[[0] * num], np.zeros(num))
    monkeypatch.setattr(own_labels.transforms, "answers", lambda *_: answers)
    with pytest.raises(UserError, match="tasks.t1.label_with: all of the task's unlabelled"):
        extend(extension())


def test_each_transform_under_which_it_labels_its_images_counts(chain):
    seen = []
    for names in (["identity"], ["identity", "left"]):
        with_tasks(chain, t1={"label_with": "self", "labels": {"transforms": names}})
        prepare_task.main(["t1"])
        seen.append(extend(extension())["images_seen"])
    assert seen[1] - seen[0] == tasks.dataset("t1").num("unlabelled")
