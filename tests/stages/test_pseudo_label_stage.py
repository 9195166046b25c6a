"""pseudo_label: the teacher's answers as labels, what is refused and what is warned of."""

import numpy as np
import pytest
import torch
from conftest import tiny_values, write_params
from stage_mains import PARENTS, card

from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.labelling import pseudo_labels
from pipeline.networks import checkpoint, evaluate
from pipeline.params.check import load
from stages import prepare, pseudo_label, student, teacher


@pytest.mark.parametrize("name", ["g1", "g2"])
def test_pseudo_labels_are_the_teachers_answers_without_noise(chain, name):
    made, metadata = pseudo_labels.load(f"data/pseudo_labels/{name}.safetensors")
    parent, dataset = PARENTS[name], store.load("data/prepared/base")
    assert metadata == {
        "schema": pseudo_labels.SCHEMA,
        "kind": "soft",
        "teacher": {"name": parent, "sha256": card(parent)["sha256"]},
        "unlabelled": dataset.digest("unlabelled"),
        "classes": dataset.classes,
        "rule": load().labels.model_dump(),
        "images_seen": len(dataset.array("unlabelled")),
    }
    network, _ = checkpoint.load(f"models/{parent}")
    images = dataset.array("unlabelled")[made.index]
    probs = torch.softmax(evaluate.infer(network, images).double(), 1).numpy()
    assert np.allclose(made.probs, probs, atol=1e-3)
    assert np.array_equal(made.label, probs.argmax(1))
    counts = np.bincount(made.label)
    assert len(set(counts[counts > 0])) == 1  # balance: equal


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
    make = pseudo_labels.make

    def without_three(probs, *rest, **named):
        others = np.array([0, 1, 2, 4, 5, 6, 7])
        return make(np.eye(8)[others[np.arange(len(probs)) % 7]], *rest, **named)

    monkeypatch.setattr(pseudo_labels, "make", without_three)
    pseudo_label.main(["g1"])
    assert "warning: no image is labelled 3; g1 learns this class" in capsys.readouterr().err


def test_labels_of_one_class_alone_are_refused(chain, monkeypatch):
    everything = np.tile(np.eye(8)[3] * 0.6 + 0.05, (854, 1))
    monkeypatch.setattr(pseudo_label, "probabilities", lambda *_: everything)
    with pytest.raises(UserError, match=r"all 427 images of 854 that are kept are labelled '3'"):
        pseudo_label.main(["g1"])
    with pytest.raises(UserError, match="fix: train 'teacher' better$"):  # the threshold is 0
        pseudo_label.main(["g1"])


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
