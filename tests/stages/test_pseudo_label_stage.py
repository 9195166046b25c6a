"""pseudo_label: the teacher's answers as labels, what is refused and what is warned of."""

import numpy as np
import pytest
import torch
from conftest import tiny_values, write_params
from stage_mains import PARENTS, card

from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.labelling import pseudo_labels, transforms
from pipeline.labelling.confidence import Confidence
from pipeline.networks import checkpoint, evaluate
from pipeline.params.check import load
from stages import prepare, pseudo_label, student, teacher


def softmax_of(network, images) -> np.ndarray:
    return torch.softmax(evaluate.infer(network, images).double(), 1).numpy()


@pytest.mark.parametrize("name", ["g1", "g2"])
def test_pseudo_labels_are_the_teachers_answers_without_noise(chain, name):
    made, metadata = pseudo_labels.load(f"data/pseudo_labels/{name}.safetensors")
    parent, dataset = PARENTS[name], store.load("data/prepared/base")
    network, _ = checkpoint.load(f"models/{parent}")
    for split, quartiles in metadata.pop("confidence").items():
        logits = evaluate.infer(network, dataset.array(split)).double()
        sure = torch.softmax(logits / card(parent)["metrics"]["temperature"], 1).amax(1)
        assert np.allclose(quartiles, np.quantile(sure.numpy(), [0.25, 0.5, 0.75]))
    assert metadata == {
        "schema": pseudo_labels.SCHEMA,
        "kind": "soft",
        "teacher": {"name": parent, "sha256": card(parent)["sha256"]},
        "unlabelled": dataset.digest("unlabelled"),
        "classes": dataset.classes,
        "rule": load().labels.model_dump(),
        "images_seen": len(dataset.array("unlabelled")),
        "foreign": None,
    }
    probs = softmax_of(network, dataset.array("unlabelled")[made.index])
    assert np.allclose(made.probs, probs, atol=1e-3)
    assert np.array_equal(made.label, probs.argmax(1))
    counts = np.bincount(made.label)
    assert len(set(counts[counts > 0])) == 1  # balance: equal


def test_labels_are_made_under_the_transforms_asked_for(chain, monkeypatch):
    asked, real = [], transforms.answers

    def spy(network, images, names, autocast):
        asked.append((len(images), names))
        return real(network, images, names, autocast)

    monkeypatch.setattr(transforms, "answers", spy)
    values = tiny_values()
    values["generations"]["g1"]["labels"] = {"transforms": ["identity", "flip"]}
    write_params(chain, values)
    pseudo_label.main(["g1"])
    dataset = store.load("data/prepared/base")
    splits = [dataset.num("val"), dataset.num("unlabelled")]
    assert asked == [(num, ["identity", "flip"]) for num in splits]


@pytest.mark.parametrize("name", ["threshold", "energy"])
def test_the_filter_has_its_cut_from_val_and_drops_before_the_rest_of_the_rule(chain, capsys, name):
    values = tiny_values()
    values["labels"] |= {"ood_filter": name, "ood_keep": 0.8, "share": 1.0, "balance": "none"}
    write_params(chain, values)
    pseudo_label.main(["g1"])
    made, metadata = pseudo_labels.load("data/pseudo_labels/g1.safetensors")
    dataset, (network, _) = store.load("data/prepared/base"), checkpoint.load("models/teacher")
    logits = [evaluate.infer(network, dataset.array(s)).double() for s in ("val", "unlabelled")]
    of = {"energy": lambda z: z.logsumexp(1), "threshold": lambda z: z.softmax(1).amax(1)}[name]
    val, unlabelled = (of(z).numpy() for z in logits)
    cut = np.sort(val)[-int(np.ceil(0.8 * len(val)))]
    assert set(made.index) == set(np.flatnonzero(unlabelled >= cut - 1e-9))
    dropped = len(unlabelled) - len(made.index)
    assert metadata["foreign"] == {"cut": pytest.approx(cut), "dropped": dropped}
    assert 0 < dropped < len(unlabelled)
    assert metadata["rule"]["ood_filter"] == name
    assert f"{len(made.index)} rows; {dropped} look foreign by '{name}'" in capsys.readouterr().out


def test_a_generation_may_have_a_filter_of_its_own(chain):
    values = tiny_values()
    values["generations"]["g1"]["labels"] = {"ood_filter": "energy"}
    write_params(chain, values)
    for name, filtered in {"g1": True, "g2": False}.items():
        pseudo_label.main([name])
        _, metadata = pseudo_labels.load(f"data/pseudo_labels/{name}.safetensors")
        assert bool(metadata["foreign"]) == filtered


def test_images_that_the_teacher_doubts_are_warned_of(chain, monkeypatch, capsys):
    quartiles = [0.7, 0.9, 0.99], [0.4, 0.62, 0.8]
    monkeypatch.setattr(pseudo_label, "confidence", lambda *_: Confidence(*quartiles))
    pseudo_label.main(["g1"])
    said = capsys.readouterr().err
    assert "teacher is less sure of the unlabelled images (quartiles 40%, 62%, 80%) than" in said
    assert "of the val images (70%, 90%, 99%): some may be" in said
    assert "labels.ood_filter drops those" in said
    monkeypatch.setattr(pseudo_label, "confidence", lambda *_: Confidence(*reversed(quartiles)))
    pseudo_label.main(["g1"])
    assert "less sure" not in capsys.readouterr().err


def test_very_many_images_for_each_label_are_warned_of(chain, monkeypatch, capsys):
    pseudo_label.main(["g1"])
    assert "for each of" not in capsys.readouterr().err
    monkeypatch.setattr(pseudo_label, "MANY", 35)
    pseudo_label.main(["g1"])
    said = capsys.readouterr().err
    assert "warning: 854 unlabelled images are 35 for each of 24 labels" in said


def test_no_unlabelled_images_is_an_error(chain, monkeypatch):
    dataset = store.load("data/prepared/base")
    counts = dataset.card["counts"] | {"unlabelled": dict.fromkeys(dataset.classes, 0)}
    empty = store.Dataset(dataset.folder, dataset.card | {"counts": counts})
    monkeypatch.setattr(store, "load", lambda _: empty)
    with pytest.raises(UserError, match="there are no unlabelled images"):
        pseudo_label.main(["g1"])


def test_a_class_that_nothing_is_labelled_as_is_named(chain, monkeypatch, capsys):
    make = pseudo_labels.make

    def without_three(probs, *rest, **named):
        others = np.array([0, 1, 2, 4, 5, 6, 7])
        return make(np.eye(8)[others[np.arange(len(probs)) % 7]], *rest, **named)

    monkeypatch.setattr(pseudo_labels, "make", without_three)
    pseudo_label.main(["g1"])
    assert "warning: no image is labelled 3; g1 learns this class" in capsys.readouterr().err


def test_labels_of_one_class_alone_are_refused(chain, monkeypatch):
    everything = transforms.Answers(np.tile(np.eye(8)[3] * 0.6 + 0.05, (854, 1)), np.zeros(854))
    monkeypatch.setattr(transforms, "answers", lambda *_: everything)
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
