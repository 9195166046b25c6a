"""Heads on frozen features: the same training as on images, with the backbone asked once."""

import shutil
from pathlib import Path

import pytest
import torch
from conftest import read_curves, same_files, tiny_values, write_params
from counts import Count
from jobs import extension, job
from learners import TRAINING, network
from torch import nn

from pipeline.continual.extend import extend
from pipeline.core import files
from pipeline.data import tasks
from pipeline.data.batches import Batches, Stream
from pipeline.networks import checkpoint, evaluate
from pipeline.students.learn import learn
from pipeline.training import fit
from pipeline.training.features_view import EitherView
from pipeline.training.images import TrainingImages
from pipeline.training.learner import Learner
from pipeline.training.probe import Probe, mirrored
from stages import student, teacher

STEPS, STOP = 12, 7
PLAIN = {"flip": False, "shift": 0, "num_ops": 0}  # every view is the image itself
SHARED = {"steps": STEPS, "evaluate_every": 4, "learning_rate": 0.5, "unlabelled_weight": 0.5}


def write(features: str = "frozen", train: str = "new_head", **recipe) -> None:
    """Params of a teacher from a file, a student from its teacher and a task, in the working
    folder, which train by this recipe."""
    values = tiny_values() | {"meta_pseudo_labels": {}, "baselines": {}}
    file = "models/b1/model.safetensors"
    begun = {"pretrained": {"file": file, "sha256": files.sha256(file)}}
    values["teacher"] = {"network": "small_cnn", "width": 0.25} | begun
    student = {"teacher": "teacher", "network": "small_cnn", "width": 0.25, "init": "teacher"}
    task = {"base": "teacher", "scenario": "class", "classes": [8, 9], "labels_per_class": 3}
    task["data"] = {"root": values["data"]["root"]}
    values |= {"generations": {"g1": student}, "tasks": {"t1": task | {"methods": {}}}}
    values["training"] |= SHARED | PLAIN | {"features": features, "train": train} | recipe
    write_params(Path("."), values | {"final": "t1"})


def made(name: str) -> dict[str, torch.Tensor]:
    return checkpoint.load(f"models/{name}")[0].state_dict()


def run(name: str) -> None:
    if name == "t1":
        extend(extension())
    else:
        teacher.main() if name == "teacher" else student.main([name])


# --- the same training -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["teacher", "g1", "t1"])
def test_without_augmentation_it_is_the_training_of_the_head_on_images(chain, name):
    trained = {}
    for features in ("trained", "frozen"):
        write(features)
        run(name)
        rows = read_curves(Path(f"models/{name}/curves.csv"))
        trained[features] = made(name), rows
    (theirs, curve), (ours, same) = trained.values()
    heads = [key for key in ours if key.startswith("heads.")]
    assert all(torch.equal(ours[k], theirs[k]) for k in ours if k not in heads)
    for key in heads:
        assert torch.allclose(ours[key], theirs[key], rtol=1e-3, atol=1e-5), key
    assert len(curve) == len(same) == STEPS // 4
    for row, other in zip(curve, same):
        assert {k: float(v) for k, v in row.items()} == pytest.approx(
            {k: float(v) for k, v in other.items()}, rel=1e-3, abs=1e-5
        )


@pytest.mark.parametrize("name", ["teacher", "g1", "t1"])
@pytest.mark.parametrize("train", ["all", "new_head"])
def test_the_heads_that_train_move_and_nothing_else(chain, name, train):
    write(train=train)
    before = checkpoint.load("models/b1" if name == "teacher" else "models/teacher")[0].state_dict()
    run(name)
    after = made(name)
    moved = {key for key, value in before.items() if not torch.equal(after[key], value)}
    moved -= {"mean", "std"}
    expected = {"heads.task_base.weight", "heads.task_base.bias"}
    if name == "t1":  # whose cross-entropy is over the new logits: the old ones only decay
        expected = {"heads.task_base.weight"} if train == "all" else set()
    assert moved == expected


def test_a_model_is_whole_and_measured_as_every_other(chain):
    write()
    run("teacher")
    network, card = checkpoint.load("models/teacher")
    [val] = tasks.known(card, "val")
    accuracy = evaluate.accuracy(evaluate.infer(network, val.images), val.labels)
    assert card["metrics"]["val_acc"] == accuracy
    assert card["training"]["features"] == "frozen"
    assert float(read_curves(Path("models/teacher/curves.csv"))[-1]["val_acc"]) == accuracy


def test_the_best_on_val_may_ship(chain, monkeypatch):
    last = {}
    falling = iter(range(100, 0, -1))
    monkeypatch.setattr(fit, "scores", lambda *_: {"val_acc": next(falling) / 100, "val_loss": 0.0})
    for keep in ("last", "best"):
        write(keep=keep, ema=0.0, evaluate_every=1)
        run("teacher")
        last[keep] = made("teacher")["heads.task_base.weight"]
    began = checkpoint.load("models/b1")[0].state_dict()["heads.task_base.weight"]
    assert not torch.equal(last["best"], last["last"]) and not torch.equal(last["best"], began)


# --- asked once ------------------------------------------------------------------------------


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("name", ["teacher", "g1", "t1"])
def test_images_seen_are_those_that_went_through_the_backbone(chain, monkeypatch, name, flip):
    write(flip=flip)
    count = Count(monkeypatch)
    card = {"t1": lambda: extend(extension())}.get(name, lambda: learn(job(name)))()
    count.close()
    data = tasks.dataset("t1" if name == "t1" else "base")
    assert card["images_seen"] == (1 + flip) * data.num("labelled")
    assert count.total == card["images_seen"] + sum(len(t.images) for t in tasks.known(card, "val"))


def test_a_students_are_the_unlabelled_ones_and_those_of_its_teacher_too(chain):
    write()
    student.main(["g1"])
    data, card = tasks.dataset("base"), checkpoint.read_card("models/g1")
    assert card["images_seen"] == data.num("labelled") + 2 * data.num("unlabelled")


def test_images_that_stay_on_the_disk_give_the_same(chain, monkeypatch):
    write()
    student.main(["g1"])
    shutil.copytree("models/g1", "resident")
    monkeypatch.setenv("LINEAGE_RESIDENT_GIGABYTES", "0")
    student.main(["g1"])
    same_files(chain / "models/g1", chain / "resident")


@pytest.mark.parametrize("name", ["teacher", "g1", "t1"])
def test_after_a_kill_it_goes_on_bit_for_bit(chain, monkeypatch, name):
    write(flip=True)
    run(name)
    shutil.copytree(f"models/{name}", "whole")
    monkeypatch.setenv("LINEAGE_CHECKPOINT_SECONDS", "0.000001")
    step, steps = Learner.step, []

    def stopping(learner, given):
        if learner.num_steps == STOP and STOP not in steps:
            steps.append(STOP)
            raise KeyboardInterrupt
        steps.append(learner.num_steps)
        return step(learner, given)

    monkeypatch.setattr(Learner, "step", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(name)
    run(name)
    assert steps == [*range(STOP), STOP, *range(STOP, STEPS)]
    same_files(chain / "models" / name, chain / "whole")


# --- views -----------------------------------------------------------------------------------


def probe(flip: bool) -> tuple[Probe, torch.Tensor, nn.Module]:
    images = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8)
    whole = network(dropout=0.5)
    recipe = TRAINING.model_copy(update={"flip": flip})
    stream = Stream(images, None, 4, EitherView(flip))
    return Probe("t", whole, recipe, {"labelled": stream}, torch.no_grad), images, whole


def test_features_are_those_of_the_image_and_of_its_mirror_image_without_noise():
    made, images, whole = probe(flip=True)
    table = made._streams["labelled"].images
    assert table.shape == (6, 2, whole.backbone.num_features, 1, 1) and not table.requires_grad
    for view, shown in enumerate((images, images.flip(3))):
        assert torch.equal(table[:, view, :, 0, 0], whole.eval()(shown).features)
    assert not torch.equal(table[:, 0], table[:, 1])
    assert made.images_seen == 12


def test_the_heads_alone_answer_features_as_the_network_does_images():
    made, images, whole = probe(flip=False)
    table = made._streams["labelled"].images
    assert made.heads.dropout == 0.5 and table.shape[1] == 1
    assert torch.equal(made.heads.eval()(table[:, 0]).logits, whole.eval()(images).logits)
    assert made.heads.newest_head is whole.newest_head


def test_a_step_takes_either_view_of_each_image(rng):
    table = torch.stack([torch.zeros(400, 3, 1, 1), torch.ones(400, 3, 1, 1)], 1)
    view = EitherView(flip=True)
    drawn = view.draw(rng, 400)
    taken = view(table, drawn)
    assert taken.shape == (400, 3, 1, 1)
    assert torch.equal(taken[:, 0, 0, 0].bool(), torch.as_tensor(drawn["mirrored"]))
    assert 150 < int(taken[:, 0].sum()) < 250
    assert not EitherView(flip=False)(table, {}).any()


@pytest.mark.parametrize("flip", [False, True])
def test_a_batch_of_features_is_the_same_from_the_buffer_that_goes_to_a_device(flip):
    table = torch.rand(9, 1 + flip, 3, 1, 1)
    stream = Stream(table, torch.eye(9), 4, EitherView(flip))
    batches = Batches({"labelled": stream}, seed=0, model="t")
    for step in range(4):
        one = batches(step)["labelled"]
        other = batches.unpack(batches.pack(step))["labelled"]
        assert one.images.shape == (4, 3, 1, 1)
        assert torch.equal(one.images, other.images) and torch.equal(one.targets, other.targets)


def test_the_recipes_views_are_of_features(chain):
    write(flip=True, num_ops=2, shift=1)
    images = job("teacher").images
    assert isinstance(images, TrainingImages)
    assert isinstance(images.weak, EitherView) and images.weak.flip
    assert images.strong is images.weak is images.labelled_view


def test_a_mirror_image_has_left_and_right_exchanged():
    assert mirrored(torch.arange(3).reshape(1, 1, 1, 3)).flatten().tolist() == [2, 1, 0]
