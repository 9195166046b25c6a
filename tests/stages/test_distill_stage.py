"""distill: what a student learns from which teacher on which images, how often the teacher is
asked, and what is refused."""

from __future__ import annotations

import shutil

import pytest
import torch
from conftest import EVALUATED, STEPS, read_curves, same_files, tiny_values, write_params
from jobs import learn_tasks, spy_on_fits
from stage_mains import card

from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.labelling.transforms import TRANSFORMS
from pipeline.networks import checkpoint, evaluate
from pipeline.networks.classifier import Classifier
from pipeline.training.learner import Learner
from pipeline.training.teaching import Teaching
from stages import distill, prepare

STOP = 5
STILL = {"flip": False, "shift": 0, "labelled_view": "weak", "num_ops": 0}  # no view changes images


def write(folder, **spec) -> None:
    values, student = tiny_values(), {"teacher": "g2", "network": "small_cnn", "width": 0.125}
    values["distilled"] = {"d1": student | {"methods": {"kd": {}}} | spec}
    write_params(folder, values)


@pytest.fixture
def parts(monkeypatch) -> list[dict[str, int]]:
    """Images of each part of each step of a learner."""
    made, step = [], Learner.step

    def noted(learner, batch):
        made.append({name: len(part.images) for name, part in batch.items()})
        return step(learner, batch)

    monkeypatch.setattr(Learner, "step", noted)
    return made


def test_the_card_says_who_taught_it_and_on_what(chain, parts):
    write(chain)
    distill.main(["d1"])
    mine, theirs = card("d1"), card("g2")
    assert mine["parents"] == {"g2": theirs["sha256"]}
    assert mine["heads"] == [{"task": "base", "classes": theirs["heads"][0]["classes"]}]
    assert set(mine["data"]["base"]) == {"labelled", "unlabelled", "val"}
    assert mine["model"]["methods"]["kd"]["alpha"] == 0.9
    assert mine["num_parameters"] < theirs["num_parameters"]
    assert parts == [{"labelled": 8, "unlabelled": 16}] * STEPS
    rows = read_curves(chain / "models/d1/curves.csv")
    assert [int(row["step"]) for row in rows] == EVALUATED
    assert {"labelled", "kd"} <= set(rows[0]) and float(rows[0]["kd"]) > 0


def test_the_labelled_images_alone_may_be_seen(chain, parts):
    write(chain, images="labelled")
    distill.main(["d1"])
    assert parts == [{"labelled": 8}] * STEPS
    assert set(card("d1")["data"]["base"]) == {"labelled", "val"}


def test_what_val_says_is_true_of_the_weights(chain):
    write(chain)
    distill.main(["d1"])
    network, results = checkpoint.load("models/d1")
    dataset = store.load("data/prepared/base")
    said = evaluate.infer(network, dataset.array("val")).argmax(1).numpy()
    right = said == dataset.array("val", "label")
    assert results["metrics"]["val_acc"] == pytest.approx(right.mean())


def counted(monkeypatch) -> list[int]:
    """The images of every pass through a network but those of evaluations."""
    seen, forward = [], Classifier.forward

    def noted(self, images):
        seen.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(Classifier, "forward", noted)
    monkeypatch.setattr(evaluate, "infer", lambda _, images, *more: torch.zeros(len(images), 8))
    return seen


@pytest.mark.parametrize(
    "methods",
    [
        {"kd": {}},
        {"kd": {}, "hints": {}, "relational": {}},
        {"kd": {}, "hints": {"alone_steps": 6}},
        {"kd": {}, "fixmatch": {}},
    ],
    ids=lambda methods: "-".join(methods),
)
@pytest.mark.parametrize("images", ["all", "labelled"])
def test_the_card_counts_all_images_that_go_through_a_network(chain, monkeypatch, methods, images):
    write(chain, methods=methods, images=images)
    seen = counted(monkeypatch)
    distill.main(["d1"])
    assert card("d1")["images_seen"] == sum(seen)


@pytest.mark.parametrize("images", ["all", "labelled"])
def test_a_teacher_answers_once_for_each_image_that_no_view_changes(chain, monkeypatch, images):
    write(chain, images=images, training=STILL)
    seen = counted(monkeypatch)
    distill.main(["d1"])
    each = 8 + 16 * (images == "all")
    dataset = store.load("data/prepared/base")
    once = dataset.num("labelled") + dataset.num("unlabelled") * (images == "all")
    assert card("d1")["images_seen"] == sum(seen) == STEPS * each + once


@pytest.mark.parametrize("still", [{}, STILL], ids=["views", "still"])
def test_a_teacher_answers_under_all_transforms(chain, monkeypatch, still):
    names = ["flip", "identity", "left"]
    write(chain, transforms=names, training=still)
    asked, seen = [], counted(monkeypatch)

    def noted(self, *given):
        start(self, *given)
        asked.append(self)

    start = Teaching.__init__
    monkeypatch.setattr(Teaching, "__init__", noted)
    distill.main(["d1"])
    (teaching,) = asked
    assert teaching.transforms == [TRANSFORMS["flip"], TRANSFORMS["left"]] and teaching.plain
    dataset = store.load("data/prepared/base")
    images = dataset.num("labelled") + dataset.num("unlabelled") if still else STEPS * 24
    assert card("d1")["images_seen"] == sum(seen) == STEPS * 24 + 3 * images


@pytest.mark.parametrize("layers", [{}, {"hints": {}}], ids=["logits", "maps"])
def test_recorded_answers_are_those_of_each_step(chain, monkeypatch, layers):
    """The student is the same as of a teacher that is asked at every step, but for what another
    number of images in a pass does to a float."""
    write(chain, training=STILL, methods={"kd": {}, **layers})
    distill.main(["d1"])
    recorded = checkpoint.load("models/d1")[0].state_dict()
    monkeypatch.setattr(Teaching, "record", lambda *_: 0)
    distill.main(["d1"])
    torch.testing.assert_close(recorded, checkpoint.load("models/d1")[0].state_dict())


def test_nothing_is_recorded_that_does_not_fit(chain, monkeypatch):
    write(chain, training=STILL, methods={"kd": {}, "hints": {}})
    monkeypatch.setenv("LINEAGE_RESIDENT_GIGABYTES", "0.0001")
    distill.main(["d1"])
    assert card("d1")["images_seen"] == 2 * STEPS * (8 + 16)


def test_a_killed_student_goes_on_bit_for_bit(chain, monkeypatch):
    write(chain, methods={"kd": {"end": 0.1}, "hints": {"alone_steps": 6}})
    distill.main(["d1"])
    shutil.copytree("models/d1", "whole")
    for phase in ("alone", ""):
        kill(monkeypatch, phase)
        distill.main(["d1"])
        same_files(chain / "models/d1", chain / "whole")


def kill(monkeypatch, phase: str) -> None:
    """The student was killed at step STOP of a training, with a checkpoint of all before."""
    phases, step = [], Learner.step
    monkeypatch.setenv("LINEAGE_CHECKPOINT_SECONDS", "0.000001")

    def stopping(learner, batch):
        if phases[-1] == phase and learner.num_steps == STOP:
            raise KeyboardInterrupt
        return step(learner, batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        spy_on_fits(patch, lambda learner, streams, name: phases.append(name))
        patch.setattr(Learner, "step", stopping)
        distill.main(["d1"])


def test_hints_alone_reach_no_further_than_the_guided_layer(chain, monkeypatch):
    """And in the training after them they are off."""
    seen = []

    def note(learner, streams, phase):
        network = {k: v.clone() for k, v in learner.network.state_dict().items()}
        targets = {stream.targets is None for stream in streams.values()}
        seen.append((phase, list(learner.methods), network, targets))

    spy_on_fits(monkeypatch, note)
    layers = {"teacher_layers": ["backbone.layers.1"], "student_layers": ["backbone.layers.1"]}
    write(chain, methods={"kd": {}, "hints": {"alone_steps": 6, **layers}}, images="labelled")
    distill.main(["d1"])
    (first, hints, before, without), (second, kd, after, _) = seen
    assert (first, hints, second, kd) == ("alone", ["hints"], "", ["kd"]) and without == {True}
    changed = {key.split(".weight")[0] for key in before if not before[key].equal(after[key])}
    assert any("layers.0" in key for key in changed)
    assert not [key for key in changed if "layers.2" in key and "running" not in key]
    assert not [key for key in changed if key.startswith("heads")]


def test_a_teacher_of_tasks_teaches_all_that_it_knows(chain, parts):
    write(chain, teacher="t1")
    distill.main(["d1"])
    mine = card("d1")
    assert [head["task"] for head in mine["heads"]] == ["base", "t1"]
    assert {"labelled", "labelled_t1", "unlabelled", "unlabelled_t1"} == set(parts[0])
    network = checkpoint.load("models/d1")[0]
    assert network(torch.zeros(1, 1, 8, 8, dtype=torch.uint8)).logits.shape == (1, 10)
    assert set(mine["data"]) == {"base", "t1"}


def test_a_task_is_learnt_on_a_distilled_model(chain):
    values = tiny_values()
    student = {"teacher": "g2", "network": "small_cnn", "width": 0.125, "methods": {"kd": {}}}
    values["distilled"] = {"d1": student}
    values["tasks"]["t1"]["base"] = "d1"
    write_params(chain, values)
    distill.main(["d1"])
    learn_tasks("t1")
    assert card("t1")["parents"] == {"d1": card("d1")["sha256"]}


def test_a_teacher_of_other_classes_is_refused(chain):
    write(chain)
    values = tiny_values()
    values["data"]["classes"].reverse()
    student = {"teacher": "g2", "network": "small_cnn", "width": 0.125, "methods": {"kd": {}}}
    write_params(chain, values | {"distilled": {"d1": student}})
    prepare.main()
    with pytest.raises(UserError, match=r"models/g2/card\.json: knows \['0', .* has \['7', "):
        distill.main(["d1"])


def test_a_teacher_that_is_told_the_task_is_refused(chain):
    values = tiny_values()
    values["tasks"]["t1"]["scenario"] = "task"
    student = {"teacher": "t1", "network": "small_cnn", "width": 0.125, "methods": {"kd": {}}}
    values["distilled"] = {"d1": student}
    write_params(chain, values)
    learn_tasks("t1")
    with pytest.raises(UserError, match="'t1' is told the task of each image"):
        distill.main(["d1"])


def test_a_layer_that_is_not_there_is_refused_with_those_that_are(chain):
    layers = {"teacher_layers": ["backbone.layers.99"], "student_layers": ["backbone.layers.2"]}
    write(chain, methods={"hints": layers})
    with pytest.raises(UserError, match=r"distilled\.d1\.methods\.hints\.teacher_layers: layer"):
        distill.main(["d1"])


def test_a_missing_teacher_is_one_line(chain):
    write(chain)
    shutil.rmtree("models/g2")
    with pytest.raises(UserError, match="models/g2"):
        distill.main(["d1"])
