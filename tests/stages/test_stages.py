"""Every stage's `main` on a tiny chain: what it writes, what it refuses, what it depends on."""

import csv
import json
import shutil
from itertools import combinations

import numpy as np
import pytest
import torch
from conftest import real_values, same_files, tiny_values, write_params

from pipeline.__main__ import show
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.labelling import pseudo_labels
from pipeline.networks.classifier import checkpoint, evaluate
from pipeline.params.check import load
from pipeline.running.entry import run
from pipeline.students import learn as self_training
from pipeline.training.optimizer import learning_rate
from stages import (
    baseline,
    extend,
    meta_pseudo_labels,
    prepare,
    prepare_task,
    pseudo_label,
    report,
    student,
    teacher,
)

MODELS = ["teacher", "g1", "g2", "t1"]
PARENTS = {"teacher": None, "g1": "teacher", "g2": "g1", "t1": "g2"}
STAGES = {
    "prepare": lambda: prepare.main(),
    "teacher": lambda: teacher.main(),
    "pseudo_label": lambda: pseudo_label.main(["g1"]),
    "student": lambda: student.main(["g1"]),
    "baseline": lambda: baseline.main(["b1"]),
    "prepare_task": lambda: prepare_task.main(["t1"]),
    "extend": lambda: extend.main(["t1"]),
    "report": lambda: report.main(),
}
OUTPUTS = {
    "prepare": "data/prepared/base",
    "teacher": "models/teacher",
    "pseudo_label": "data/pseudo_labels",
    "student": "models/g1",
    "baseline": "models/b1",
    "prepare_task": "data/prepared/t1",
    "extend": "models/t1",
}


def card(name: str) -> dict:
    return json.loads((files.Path("models") / name / "card.json").read_text())


# --- what they write --------------------------------------------------------------------------


def test_prepare_splits_the_digits_of_the_base_classes(chain):
    data, dataset = load().data, store.load("data/prepared/base")
    assert dataset.classes == data.classes and dataset.image_shape == (1, 8, 8)
    labels = np.bincount(dataset.array("labelled", "label"))
    assert labels.tolist() == [data.labels_per_class] * len(data.classes)
    total = sum(len(dataset.array(name)) for name in store.SPLITS)
    assert len(dataset.array("val")) / total == pytest.approx(data.val, abs=0.04)
    assert len(dataset.array("test")) / total == pytest.approx(data.test, abs=0.04)


def test_base_and_task_share_no_image_and_are_split_by_one_rule(chain):
    indexes = []
    for name in ("base", "t1"):
        with open(f"data/prepared/{name}/index.csv", newline="") as file:
            indexes.append({row["sha256"]: row["split"] for row in csv.DictReader(file)})
    assert not indexes[0].keys() & indexes[1].keys()
    values = tiny_values()
    values["data"]["classes"] += values["tasks"]["t1"]["classes"]
    write_params(chain, values | {"tasks": {}, "final": "g2"})
    prepare.main()
    with open("data/prepared/base/index.csv", newline="") as file:
        together = {row["sha256"]: row["split"] for row in csv.DictReader(file)}
    assert together == indexes[0] | indexes[1]


@pytest.mark.parametrize("name", MODELS)
def test_a_models_card_says_who_taught_it_and_on_what(chain, name):
    found, parent = card(name), PARENTS[name]
    assert found["name"] == name and found["seed"] == load().seed
    assert found["parents"] == ({parent: card(parent)["sha256"]} if parent else {})
    assert found["training"] == load().training_of(name).model_dump()
    assert found["network"]["width"] == 0.25
    heads = {head["task"]: head["classes"] for head in found["heads"]}
    assert heads == {"base": load().data.classes} | ({"t1": ["8", "9"]} if name == "t1" else {})
    for task, splits in found["data"].items():
        dataset = store.load(f"data/prepared/{task}")
        assert splits == {split: dataset.digest(split) for split in splits}
    seen = {split for splits in found["data"].values() for split in splits}
    assert "test" not in seen and {"labelled", "val"} <= seen


def test_the_cards_of_a_pair_hold_the_options_of_its_teachers_consistency(chain):
    """Else a resume checkpoint made with other ones would be gone on from."""
    uda = load().meta_pseudo_labels["m1"].uda.model_dump()
    assert card("m1")["model"]["uda"] == card("m1-teacher")["model"]["uda"] == uda


@pytest.mark.parametrize("name", ["teacher", "g1", "g2", "m1", "m1-teacher"])
def test_what_the_card_says_of_val_is_true_of_the_weights(chain, name):
    network, found = checkpoint.load(f"models/{name}")
    dataset = store.load("data/prepared/base")
    labels = torch.from_numpy(dataset.array("val", "label").copy())
    logits = evaluate.infer(network, dataset.array("val"))
    loss = evaluate.negative_log_likelihood(logits, labels)
    assert found["metrics"]["val_acc"] == evaluate.accuracy(logits, labels)
    assert found["metrics"]["val_loss"] == pytest.approx(loss, rel=1e-5)


def test_the_curves_of_a_pair_tell_its_networks_apart(chain):
    """Each with its own learning rate; the clean end is the student's alone."""
    curves = {}
    for name in ("m1", "m1-teacher"):
        with open(f"models/{name}/curves.csv", newline="") as file:
            curves[name] = list(csv.DictReader(file))
    recipe, spec = load().training_of("m1"), load().meta_pseudo_labels["m1"]
    peaks = {"m1": recipe.learning_rate, "m1-teacher": spec.teacher_learning_rate}
    for name, peak in peaks.items():
        own = recipe.model_copy(update={"learning_rate": peak})
        found = [float(row["learning_rate"]) for row in curves[name][:3]]
        assert found == [learning_rate(own, int(row["step"]) - 1) for row in curves[name][:3]]
    *rows, clean = curves["m1"]
    assert [row["teacher/val_loss"] for row in rows] == [
        row["val_loss"] for row in curves["m1-teacher"]
    ]
    assert clean["step"] == "16" and not clean["teacher/val_loss"]


def test_a_pairs_teacher_begins_as_it_was_and_a_students_schedule_when_it_learns(chain):
    values = tiny_values()
    spec = {"teacher_learning_rate": 1e-9, "student_wait": 5, "training": {"ema": 0.0}}
    values["meta_pseudo_labels"]["m1"] |= spec
    write_params(chain, values)
    meta_pseudo_labels.main(["m1"])
    before, after = (checkpoint.load(f"models/{name}")[0] for name in ("g1", "m1-teacher"))
    torch.testing.assert_close(dict(after.named_parameters()), dict(before.named_parameters()))
    recipe = load().training_of("m1").model_copy(update={"steps": 12 - 5})
    with open("models/m1/curves.csv", newline="") as file:
        found = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    assert found[:3] == [0.0, learning_rate(recipe, 7 - 5), learning_rate(recipe, 11 - 5)]


def test_soft_labels_are_refused_before_training_where_networks_are_compiled(chain, monkeypatch):
    values = tiny_values()
    values["meta_pseudo_labels"]["m1"]["labels"] = "soft"
    write_params(chain, values)
    monkeypatch.setenv("LINEAGE_COMPILE", "true")
    with pytest.raises(UserError, match=r"m1\.labels\): .* through `compile`; fix: set compile: f"):
        meta_pseudo_labels.main(["m1"])


def test_a_pair_without_a_clean_end_has_the_metrics_of_any_model(chain):
    values = tiny_values()
    del values["meta_pseudo_labels"]["m1"]["fine_tune"]
    write_params(chain, values)
    meta_pseudo_labels.main(["m1"])
    assert set(card("m1")["metrics"]) == set(card("m1-teacher")["metrics"])
    assert set(card("m1")["metrics"]) == {"val_acc", "val_loss"}


@pytest.mark.parametrize("name", MODELS)
def test_curves_have_a_row_a_look(chain, name):
    with open(f"models/{name}/curves.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    tuned = [16] if name == "g2" else []  # it ends with a fine-tuning of four steps
    assert [int(row["step"]) for row in rows] == [4, 8, 12, *tuned]
    parts = {"g1": ["labelled", "pseudo"], "g2": ["labelled", "pseudo"], "t1": ["labelled", "lwf"]}
    columns = ["step", "learning_rate", "loss", *parts.get(name, ["labelled"])]
    assert list(rows[0]) == [*columns, "val_acc", "val_loss"]
    assert float(rows[-1]["val_acc"]) == card(name)["metrics"]["val_acc"]


@pytest.mark.parametrize("name", ["g1", "g2"])
def test_pseudo_labels_are_the_teachers_answers_without_noise(chain, name):
    made, metadata = pseudo_labels.load(f"data/pseudo_labels/{name}.safetensors")
    parent, dataset = PARENTS[name], store.load("data/prepared/base")
    assert metadata == {
        "schema": 1,
        "teacher": {"name": parent, "sha256": card(parent)["sha256"]},
        "unlabelled": dataset.digest("unlabelled"),
        "classes": dataset.classes,
        "rule": load().labels.model_dump(),
    }
    network, _ = checkpoint.load(f"models/{parent}")
    images = dataset.array("unlabelled")[made.index]
    probs = torch.softmax(evaluate.infer(network, images).double(), 1).numpy()
    assert np.allclose(made.probs, probs, atol=1e-3)
    assert np.array_equal(made.label, probs.argmax(1))
    counts = np.bincount(made.label)
    assert len(set(counts[counts > 0])) == 1  # balance: equal


def test_the_report_holds_every_model(chain):
    metrics = files.read_json("report/metrics.json")
    assert all(isinstance(value, (int, float)) for value in metrics.values())
    for name in MODELS:
        assert metrics[f"val_acc/{name}"] == round(card(name)["metrics"]["val_acc"], 6)
        assert 0 <= metrics[f"acc/{name}"] <= 1
    for name in ("g1", "g2"):
        made, _ = pseudo_labels.load(f"data/pseudo_labels/{name}.safetensors")
        truth = store.load("data/prepared/base").array("unlabelled", "truth")
        kept = dict(zip(made.index.tolist(), made.label.tolist()))
        assert metrics[f"pseudo_labels/{name}/rows"] == len(made.index)
        right = np.mean([truth[row] == label for row, label in kept.items()])
        assert metrics[f"pseudo_labels/{name}/accuracy"] == pytest.approx(right, abs=1e-6)
        share = len(kept) / len(truth)
        assert metrics[f"pseudo_labels/{name}/kept_share"] == pytest.approx(share, abs=1e-6)


def test_of_models_round_a_pair_the_unlabelled_images_they_have_right_are_counted(chain):
    metrics, dataset = files.read_json("report/metrics.json"), store.load("data/prepared/base")
    images, truth = (dataset.array("unlabelled", name) for name in ("image", "truth"))
    found = [key.split("/")[1] for key in metrics if key.startswith("unlabelled_acc/")]
    assert found == ["g1", "m1", "m1-teacher"]
    for name in found:
        network, _ = checkpoint.load(f"models/{name}")
        with torch.no_grad():
            said = network.eval()(torch.from_numpy(images.copy())).logits.argmax(1).numpy()
        assert metrics[f"unlabelled_acc/{name}"] == pytest.approx(np.mean(said == truth), abs=1e-6)


@pytest.mark.parametrize(
    ("feedback", "measured"), [("loss_difference", 2), ("inner_product", 1), ("none", 0)]
)
def test_the_card_of_a_pair_counts_all_images_that_go_through_a_network(
    chain, monkeypatch, feedback, measured
):
    from pipeline.networks.classifier import Classifier

    seen, features = [], Classifier.features
    values = tiny_values()
    values["meta_pseudo_labels"]["m1"] |= {"feedback": feedback, "student_wait": 3}
    write_params(chain, values)

    def counted(self, images):
        seen.append(len(images))
        return features(self, images)

    monkeypatch.setattr(Classifier, "features", counted)
    monkeypatch.setattr("pipeline.evaluate.infer", lambda _, images, *more: answers(images))
    meta_pseudo_labels.main(["m1"])
    steps, labelled, unlabelled = 12, 8, 16
    each = labelled + 3 * unlabelled
    wanted = steps * each + (steps - 3) * measured * labelled + 4 * labelled
    assert card("m1")["images_seen"] == sum(seen) == wanted


def answers(images) -> torch.Tensor:
    """In the place of a look at val, which the count leaves out."""
    return torch.zeros(len(images), 8)


def test_the_report_has_its_tables_and_pictures(chain):
    tables = {"models.csv", "curves.csv", "confusion.csv", "pseudo_labels.csv"}
    pictures = {"models.png", "curves.png", "confusion.png", "pseudo_labels.png"}
    assert tables <= {p.name for p in (chain / "report/data").iterdir()}
    assert pictures <= {p.name for p in (chain / "report/html").iterdir()}
    with open("report/data/models.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["model"], row["split"]) for row in rows} >= {
        (name, split) for name in MODELS for split in ("val", "test")
    }
    with open("report/data/confusion.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    (ships,) = {row["model"] for row in rows}
    assert ships == files.read_json("report/data/verdict.json")["ships"]
    right = np.mean([row["actual"] == row["predicted"] for row in rows])
    metrics = files.read_json("report/metrics.json")
    assert right == pytest.approx(metrics[f"acc/{ships}"], abs=1e-6)


def test_the_closing_table_has_a_line_a_model(chain, capsys):
    show(None)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[2:9]] == [
        ["teacher", "labels"],
        ["g1", "teacher"],
        ["g2", "g1"],
        ["m1", "g1"],
        ["m1-teacher", "g1"],
        ["b1", "fixmatch"],
        ["t1", "g2"],
    ]


def test_the_table_of_a_chain_that_has_grown_since_the_report_is_refused(chain):
    values = tiny_values()
    values["generations"]["g3"] = {"teacher": "g2", "network": "small_cnn"}
    write_params(chain, values)
    with pytest.raises(UserError, match=r"report/metrics.json: .*'g3'"):
        show(None)


# --- same bytes, and test data ----------------------------------------------------------------


@pytest.mark.parametrize("stage", OUTPUTS)
def test_the_same_seed_gives_the_same_bytes(chain, finished, stage):
    if stage != "pseudo_label":
        shutil.rmtree(OUTPUTS[stage])
    STAGES[stage]()
    same_files(chain / OUTPUTS[stage], finished / OUTPUTS[stage])


@pytest.mark.parametrize("stage", ["teacher", "pseudo_label", "student", "baseline", "extend"])
def test_another_seed_gives_other_bytes(chain, finished, stage):
    write_params(chain, tiny_values() | {"seed": 1})
    STAGES[stage]()
    with pytest.raises(AssertionError):
        same_files(chain / OUTPUTS[stage], finished / OUTPUTS[stage])


class Begun(Exception):
    """Carries the weights that a training begins with."""


def test_first_weights_depend_on_the_seed_and_the_model(chain, monkeypatch):
    def begin(learner, *_, **__):
        raise Begun(learner.network.heads["task_base"].weight.detach().clone())

    monkeypatch.setattr(self_training, "fit", begin)
    first = []
    for seed in (0, 1):
        write_params(chain, tiny_values() | {"seed": seed})
        for stage in ("teacher", "student"):
            with pytest.raises(Begun) as caught:
                STAGES[stage]()
            first.append(caught.value.args[0])
    assert all(not torch.equal(one, other) for one, other in combinations(first, 2))


# each stage, and blocks of params.yaml that dvc.yaml does not name for it
UNSEEN = {
    "prepare": {"seed": 1, "training": {"steps": 5}, "labels": {"share": 0.1}, "teacher": {}},
    "teacher": {"labels": {"share": 0.1}, "g1": {"width": 0.5}, "final": "g1", "data": {}},
    "pseudo_label": {"training": {"steps": 5}, "teacher": {"width": 0.5}, "g2": {"width": 0.5}},
    "student": {"labels": {"share": 0.1}, "teacher": {"width": 0.5}, "g2": {"width": 0.5}},
    "baseline": {"labels": {"share": 0.1}, "teacher": {"width": 0.5}, "g2": {"width": 0.5}},
    "prepare_task": {"seed": 1, "training": {"steps": 5}, "labels": {"share": 0.1}},
    "extend": {"labels": {"share": 0.1}, "teacher": {"width": 0.5}, "g2": {"width": 0.5}},
}


@pytest.mark.parametrize("stage", UNSEEN)
def test_a_stage_does_not_read_params_that_the_graph_does_not_name_for_it(chain, finished, stage):
    values = tiny_values()
    values["report"]["test"] = not values["report"]["test"]
    if "data" in UNSEEN[stage]:
        values["data"]["seed"] += 1
    for key, change in UNSEEN[stage].items():
        block = values["generations"] if key.startswith("g") else values
        block[key] = block[key] | change if isinstance(change, dict) else change
    write_params(chain, values)
    if stage != "pseudo_label":
        shutil.rmtree(OUTPUTS[stage])
    STAGES[stage]()
    same_files(chain / OUTPUTS[stage], finished / OUTPUTS[stage])


@pytest.mark.parametrize("stage", ["teacher", "pseudo_label", "student", "baseline", "extend"])
def test_no_stage_before_the_report_reads_test(chain, stage):
    for path in chain.glob("data/prepared/*/test/*.npy"):
        path.unlink()
    STAGES[stage]()


def test_the_report_reads_no_test_when_it_must_not(chain):
    for path in chain.glob("data/prepared/*/test/*.npy"):
        path.unlink()
    with pytest.raises(UserError, match="test/image.npy: no such file"):
        report.main()
    values = tiny_values()
    values["report"]["test"] = False
    write_params(chain, values)
    report.main()
    metrics = files.read_json("report/metrics.json")
    assert "val_acc/g2" in metrics
    assert not any(key.split("/")[0] in {"acc", "task_acc"} for key in metrics)


# --- what they refuse -------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_wrong_params_end_every_stage_before_it_writes(project, stage, capsys):
    write_params(project, tiny_values() | {"seed": "x", "finall": "g2"})
    with pytest.raises(SystemExit) as caught:
        run(STAGES[stage])
    assert caught.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("error: params.yaml:") for line in lines)
    assert [p.name for p in project.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize("stage", [s for s in STAGES if s not in ("prepare", "prepare_task")])
def test_a_stage_without_its_inputs_says_which_are_missing(project, stage):
    with pytest.raises(UserError, match=r"(data/prepared|models|data/pseudo).*no such file"):
        STAGES[stage]()


@pytest.mark.parametrize(
    "main", [pseudo_label.main, student.main, baseline.main, extend.main, prepare_task.main]
)
@pytest.mark.parametrize("given", [[], ["g11"], ["teacher"], ["g1", "g2"]])
def test_a_name_that_params_lack_is_refused(project, main, given):
    with pytest.raises(UserError, match=r"stages\.\w+: .*; fix: "):
        main(given)


DAMAGED = [
    ("teacher", "data/prepared/base/labelled/image.npy"),
    ("teacher", "data/prepared/base/val/label.npy"),
    ("teacher", "data/prepared/base/dataset.json"),
    ("pseudo_label", "models/teacher/model.safetensors"),
    ("pseudo_label", "models/teacher/card.json"),
    ("pseudo_label", "data/prepared/base/unlabelled/image.npy"),
    ("student", "data/pseudo_labels/g1.safetensors"),
    ("student", "models/teacher/card.json"),
    ("extend", "models/g2/model.safetensors"),
    ("extend", "data/prepared/t1/labelled/label.npy"),
    ("report", "models/g2/model.safetensors"),
    ("report", "data/prepared/base/test/label.npy"),
    ("report", "data/pseudo_labels/g2.safetensors"),
]


@pytest.mark.parametrize(("stage", "path"), DAMAGED)
def test_one_flipped_bit_of_an_input_ends_a_stage(chain, stage, path):
    data = bytearray((chain / path).read_bytes())
    data[2 * len(data) // 3] ^= 4
    (chain / path).write_bytes(data)
    with pytest.raises(UserError, match=path):
        STAGES[stage]()


def test_pseudo_labels_of_an_older_teacher_are_refused(chain):
    write_params(chain, tiny_values() | {"seed": 1})
    teacher.main()
    words = "g1.safetensors: made with other teacher's weights than models/teacher/card.json"
    with pytest.raises(UserError, match=words):
        student.main(["g1"])


def test_pseudo_labels_of_older_images_are_refused(chain):
    values = tiny_values()
    values["data"]["seed"] = 9
    write_params(chain, values)
    prepare.main()
    with pytest.raises(UserError, match=r"made with other images than data/prepared/base"):
        student.main(["g1"])


@pytest.mark.parametrize("stage", ["pseudo_label", "student", "extend", "report"])
def test_another_order_of_classes_is_refused(chain, stage):
    values = tiny_values()
    values["data"]["classes"] = values["data"]["classes"][::-1]
    write_params(chain, values)
    prepare.main()
    with pytest.raises(UserError, match="classes"):
        STAGES[stage]()


def test_an_extension_of_a_task_with_no_unlabelled_images_left_is_refused(chain):
    values = tiny_values()
    values["data"]["labels_per_class"] = 100
    values["data"]["val"], values["data"]["test"] = 0.2, 0.25
    write_params(chain, values)
    with pytest.raises(UserError, match=r"class '\d' has \d+ training images, 100 are asked for"):
        prepare.main()


def test_a_smaller_student_is_warned_about(chain, capsys):
    values = tiny_values()
    values["generations"]["g1"]["width"] = 0.125
    write_params(chain, values)
    student.main(["g1"])
    assert "warning: g1" in (err := capsys.readouterr().err) and "smaller than its teacher" in err


def test_the_shift_of_the_weak_view_must_fit_the_images(chain):
    values = tiny_values()
    values["training"]["shift"] = 8
    write_params(chain, values)
    with pytest.raises(UserError, match=r"training.shift: 8 pixels, the images are 8x8"):
        teacher.main()


def test_no_operations_leave_the_weak_view(chain):
    values = tiny_values()
    values["training"]["num_ops"] = 0
    write_params(chain, values)
    teacher.main()
    assert card("teacher")["training"]["num_ops"] == 0


def test_the_committed_recipe_is_one_that_the_tiny_chain_shares():
    real, tiny = real_values(), tiny_values()
    assert tiny["training"].keys() == real["training"].keys()
    assert tiny["data"] == real["data"] and tiny.keys() == real.keys()


def test_labels_are_made_under_the_transforms_asked_for(chain, monkeypatch):
    asked, real = [], pseudo_label.probabilities

    def spy(network, images, names, autocast):
        asked.extend(names)
        return real(network, images, names, autocast)

    monkeypatch.setattr(pseudo_label, "probabilities", spy)
    values = tiny_values()
    values["generations"]["g1"]["labels"] = {"transforms": ["identity", "flip"]}
    write_params(chain, values)
    pseudo_label.main(["g1"])
    assert asked == ["identity", "flip"]


def test_a_class_that_nothing_is_labelled_as_is_named(chain, monkeypatch, capsys):
    from pipeline import pseudo_labels as rules

    make = rules.make

    def without_three(probs, *rest, **named):
        others = np.array([0, 1, 2, 4, 5, 6, 7])
        return make(np.eye(8)[others[np.arange(len(probs)) % 7]], *rest, **named)

    monkeypatch.setattr(rules, "make", without_three)
    pseudo_label.main(["g1"])
    assert "warning: no image is labelled 3; g1 learns this class" in capsys.readouterr().err


def test_labels_of_one_class_alone_are_refused(chain, monkeypatch):
    everything = np.tile(np.eye(8)[3] * 0.6 + 0.05, (854, 1))
    monkeypatch.setattr(pseudo_label, "probabilities", lambda *_: everything)
    with pytest.raises(UserError, match=r"all 427 images of 854 that are kept are labelled '3'"):
        pseudo_label.main(["g1"])
    with pytest.raises(UserError, match="fix: train 'teacher' better$"):  # the threshold is 0
        pseudo_label.main(["g1"])


def test_networks_are_compiled_for_training_if_the_machine_says_so(chain, monkeypatch):
    from torch import nn

    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(type(self).__name__))
    student.main(["g1"])
    assert compiled == []
    monkeypatch.setenv("LINEAGE_COMPILE", "true")
    student.main(["g1"])
    assert compiled == ["Classifier"]
    meta_pseudo_labels.main(["m1"])
    assert len(compiled) == 1 + 3  # student, teacher, and the student for its clean end
