"""Extension: heads grow, tasks chain, the base's images are not there."""

from pathlib import Path

import pytest
import torch
from conftest import read_curves
from jobs import extension, learn_tasks, with_tasks

from pipeline.continual import extend as extending
from pipeline.continual.extend import begin, extend
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.data import tasks
from pipeline.networks import checkpoint
from stages import report

TASK = {"base": "g2", "classes": ["8"]}


def test_tasks_chain_and_the_matrix_has_a_row_more(chain):
    with_tasks(chain, t1=TASK, t2={"base": "t1", "classes": ["9"]})
    learn_tasks("t1", "t2")
    card = checkpoint.read_card("models/t2")
    assert [head["task"] for head in card["heads"]] == ["base", "t1", "t2"]
    assert checkpoint.classes(card) == list("0123456789")
    assert list(card["parents"]) == ["t1"] and set(card["data"]) == {"base", "t1", "t2"}
    report.main()
    metrics = files.read_json("report/metrics.json")
    assert {"task_acc/t2/base", "task_acc/t2/t1", "task_acc/t2/t2", "forgetting/t2"} <= set(metrics)


def test_growing_leaves_the_old_logits_as_they_were(chain):
    base, card = checkpoint.load("models/g2")
    images = tasks.known(card, "val")[0].images
    setting = begin(extension(), {})
    after = setting.network.eval()(images).logits
    assert torch.equal(after[:, :8], base(images).logits) and after.shape[1] == 10
    [(name, teacher)] = setting.teachers.items()
    assert name == "g2" and torch.equal(teacher(images).logits, base(images).logits)


def test_the_base_model_as_teacher_is_frozen_and_stays_as_it_is(chain, monkeypatch):
    """No gradient reaches it and no running statistics move, in a whole training of a task."""
    settings, real = [], extending.begin
    monkeypatch.setattr(
        extending, "begin", lambda *given: settings.append(real(*given)) or settings[0]
    )
    extend(extension())
    [teacher] = settings[0].teachers.values()
    before, _ = checkpoint.load("models/g2")
    after = teacher.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.state_dict().items())
    assert not any(module.training for module in teacher.modules())
    assert not any(w.requires_grad or w.grad is not None for w in teacher.parameters())


def test_images_of_another_shape_are_refused(chain):
    job = extension()
    job.base["image_shape"] = [3, 32, 32]
    with pytest.raises(UserError, match="'g2' takes"):
        extending.check(job)


def test_the_same_seed_gives_the_same_bytes(chain):
    before = Path("models/t1/model.safetensors").read_bytes()
    extend(extension())
    assert Path("models/t1/model.safetensors").read_bytes() == before


@pytest.mark.parametrize("train", ["fc", "new_head"])
def test_a_task_may_train_a_part_of_the_weights(chain, train):
    methods = {"lwf": {"warmup_steps": 2}}
    with_tasks(chain, t1=TASK | {"methods": methods, "training": {"train": train}})
    learn_tasks("t1")
    before, after = (checkpoint.load(f"models/{name}")[0].state_dict() for name in ("g2", "t1"))
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    heads = {"heads.task_base.weight", "heads.task_base.bias"}
    assert moved == (heads if train == "fc" else set())


def test_a_task_has_its_own_noise(chain):
    with_tasks(chain, t1=TASK | {"training": {"dropout": 0.75}})
    learn_tasks("t1")
    assert checkpoint.read_card("models/t1")["network"]["dropout"] == 0.75
    assert checkpoint.load("models/t1")[0].dropout == 0.75


def test_a_task_may_learn_from_unlabelled_images_of_its_classes_too(chain):
    """Two methods of two families at once, in one curve and one card."""
    with_tasks(
        chain, t1=TASK | {"classes": ["8", "9"], "methods": {"lwf": {}, "uda": {"threshold": 0.0}}}
    )
    learn_tasks("t1")
    row = read_curves(chain / "models/t1/curves.csv")[-1]
    assert float(row["lwf"]) > 0 and float(row["uda"]) > 0
    card = checkpoint.read_card("models/t1")
    assert set(card["data"]["t1"]) == {"labelled", "unlabelled", "val"}
    assert set(card["task"]["methods"]) == {"lwf", "uda"}
