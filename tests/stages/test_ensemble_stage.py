"""ensemble: what two models say together, what is written of them, and what is refused."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from conftest import tiny_values, write_params
from jobs import learn_tasks
from scipy.special import softmax
from stage_mains import card

from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.networks import checkpoint, evaluate
from stages import distill, ensemble, pseudo_label, student, teacher


def write(folder, **ensembles) -> dict:
    values = tiny_values() | {"ensembles": ensembles}
    write_params(folder, values)
    return values


def said(name: str) -> np.ndarray:
    """What a model says of val, logits in float64."""
    network, _ = checkpoint.load(f"models/{name}")
    images = store.load("data/prepared/base").array("val")
    return evaluate.infer(network, images).double().numpy()


@pytest.mark.parametrize("weights", ["equal", "val_acc"])
def test_probabilities_are_averaged_with_their_weights(chain, weights):
    write(chain, e1={"first": "g2", "second": "b1", "weights": weights})
    ensemble.main(["e1"])
    accs = [card(name)["metrics"]["val_acc"] for name in ("g2", "b1")]
    shares = np.array([1, 1] if weights == "equal" else accs)
    wanted = np.average([softmax(said(n), 1) for n in ("g2", "b1")], 0, shares)
    np.testing.assert_allclose(softmax(said("e1"), 1), wanted, atol=1e-6)
    labels = store.load("data/prepared/base").array("val", "label")
    assert card("e1")["metrics"]["val_acc"] == pytest.approx(np.mean(wanted.argmax(1) == labels))


def test_the_geometric_mean_is_that_of_logits(chain):
    write(chain, e1={"first": "g2", "second": "b1", "mean": "geometric"})
    ensemble.main(["e1"])
    np.testing.assert_allclose(said("e1"), (said("g2") + said("b1")) / 2, atol=1e-5)


def test_an_ensemble_in_an_ensemble_adds_its_members_as_equals(chain):
    pair = {"first": "g2", "second": "b1", "mean": "geometric"}
    write(chain, e1=pair, e2={"first": "e1", "second": "g1", "mean": "geometric"})
    ensemble.main(["e1"])
    ensemble.main(["e2"])
    assert [member["name"] for member in card("e2")["members"]] == ["g2", "b1", "g1"]
    assert card("e2")["parents"] == {name: card(name)["sha256"] for name in ("e1", "g1")}
    wanted = np.mean([said(name) for name in ("g2", "b1", "g1")], 0)
    np.testing.assert_allclose(said("e2"), wanted, atol=1e-5)


def test_an_ensemble_says_how_large_it_is(chain):
    write(chain, e1={"first": "g2", "second": "b1"})
    ensemble.main(["e1"])
    each = [card(name)["num_parameters"] for name in ("g2", "b1")]
    assert card("e1")["num_parameters"] == sum(each) and card("e1")["images_seen"] == 0


def test_an_ensemble_labels_images_and_teaches(chain):
    values = write(chain, e1={"first": "g2", "second": "b1"})
    spec = {"network": "small_cnn", "width": 0.125, "teacher": "e1"}
    values["distilled"] = {"d1": spec | {"methods": {"kd": {}, "logits": {}}}}
    values["generations"]["g3"] = spec | {"network": "wide_cnn"}
    write_params(chain, values)
    ensemble.main(["e1"])
    distill.main(["d1"])
    pseudo_label.main(["g3"])
    student.main(["g3"])
    for name in ("d1", "g3"):
        assert card(name)["parents"] == {"e1": card("e1")["sha256"]}


def test_models_that_learnt_the_same_classes_as_other_tasks_answer_together(chain):
    values = write(chain)
    values["tasks"] |= {"t2": values["tasks"]["t1"] | {"methods": {}}}
    values["ensembles"] = {"e1": {"first": "t1", "second": "t2"}}
    write_params(chain, values)
    learn_tasks("t2")
    ensemble.main(["e1"])
    assert [head["task"] for head in card("e1")["heads"]] == ["base", "t1"]
    wanted = np.mean([softmax(said(name), 1) for name in ("t1", "t2")], 0)
    np.testing.assert_allclose(softmax(said("e1"), 1), wanted, atol=1e-6)
    assert set(card("e1")["data"]) == {"base", "t1"}


def test_models_of_other_classes_are_refused(chain):
    write(chain, e1={"first": "g2", "second": "t1"})
    with pytest.raises(UserError, match=r"models/t1/card\.json: 't1' knows \['0', .* 'g2' \['0'"):
        ensemble.main(["e1"])


def test_a_model_that_is_told_the_task_is_refused(chain):
    values = write(chain, e1={"first": "g2", "second": "t1"})
    values["tasks"]["t1"]["scenario"] = "task"
    write_params(chain, values)
    learn_tasks("t1")
    with pytest.raises(UserError, match="'t1' is told the task of each image"):
        ensemble.main(["e1"])


def test_a_missing_member_is_one_line(chain):
    write(chain, e1={"first": "g2", "second": "b1"})
    shutil.rmtree("models/b1")
    with pytest.raises(UserError, match="models/b1"):
        ensemble.main(["e1"])


def test_the_same_members_make_the_same_file(chain):
    write(chain, e1={"first": "g2", "second": "b1"})
    ensemble.main(["e1"])
    before = card("e1")["sha256"]
    ensemble.main(["e1"])
    assert card("e1")["sha256"] == before
    values = tiny_values() | {"seed": 5, "ensembles": {"e1": {"first": "teacher", "second": "b1"}}}
    write_params(chain, values)
    teacher.main()
    ensemble.main(["e1"])
    assert card("e1")["sha256"] != before and not torch.isnan(torch.from_numpy(said("e1"))).any()
