"""The stages that train a model: its card, its curve, its warnings."""

import pytest
import torch
from conftest import EVALUATED, STEPS, read_curves, real_values, tiny_values, write_params
from stage_mains import MODELS, PARENTS, card
from torch import nn

from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.networks import checkpoint, evaluate
from pipeline.params.check import load
from stages import meta_pseudo_labels, student, teacher


@pytest.mark.parametrize("name", MODELS)
def test_a_models_card_says_who_taught_it_and_on_what(chain, name):
    results, parent = card(name), PARENTS[name]
    assert results["name"] == name and results["seed"] == load().seed
    assert results["parents"] == ({parent: card(parent)["sha256"]} if parent else {})
    assert results["training"] == load().config(name).training.model_dump()
    assert results["network"]["width"] == 0.25
    heads = {head["task"]: head["classes"] for head in results["heads"]}
    assert heads == {"base": load().data.classes} | ({"t1": ["8", "9"]} if name == "t1" else {})
    for task, splits in results["data"].items():
        dataset = store.load(f"data/prepared/{task}")
        assert splits == {split: dataset.digest(split) for split in splits}
    seen = {split for splits in results["data"].values() for split in splits}
    assert "test" not in seen and {"labelled", "val"} <= seen


@pytest.mark.parametrize("name", ["teacher", "g1", "g2", "m1", "m1-teacher"])
def test_what_the_card_says_of_val_is_true_of_the_weights(chain, name):
    network, results = checkpoint.load(f"models/{name}")
    dataset = store.load("data/prepared/base")
    labels = torch.from_numpy(dataset.array("val", "label").copy())
    logits = evaluate.infer(network, dataset.array("val"))
    loss = evaluate.negative_log_likelihood(logits, labels)
    assert results["metrics"]["val_acc"] == evaluate.accuracy(logits, labels)
    assert results["metrics"]["val_loss"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_curves_have_a_row_for_each_evaluation(chain, name):
    rows = read_curves(chain / f"models/{name}/curves.csv")
    tuned = [STEPS + 4] if name == "g2" else []  # it ends with a fine-tuning of four steps
    assert [int(row["step"]) for row in rows] == [*EVALUATED, *tuned]
    parts = {"g1": ["labelled", "pseudo"], "g2": ["labelled", "pseudo"], "t1": ["labelled", "lwf"]}
    columns = ["step", "learning_rate", "loss", *parts.get(name, ["labelled"])]
    each = ["val_acc/base", "val_acc/t1"] if name == "t1" else []
    assert list(rows[0]) == [*columns, "val_acc", "val_loss", *each]
    assert float(rows[-1]["val_acc"]) == card(name)["metrics"]["val_acc"]


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


def test_networks_are_compiled_for_training_if_the_machine_says_so(chain, monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(type(self).__name__))
    student.main(["g1"])
    assert compiled == []
    monkeypatch.setenv("LINEAGE_COMPILE", "true")
    student.main(["g1"])
    assert compiled == ["Classifier"]
    meta_pseudo_labels.main(["m1"])
    assert len(compiled) == 1 + 3  # student, teacher, and the student for its clean end
