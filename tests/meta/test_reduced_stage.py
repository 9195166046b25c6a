"""The stage of a reduced pair: a large teacher that answers once, stays as it is and is away while
the pair trains; what becomes of it."""

import shutil
import weakref

import pytest
import torch
from conftest import read_curves, same_files, tiny_values, write_params

from pipeline.data import store
from pipeline.labelling import pseudo_labels
from pipeline.meta.pair import Pair
from pipeline.networks import checkpoint, evaluate
from pipeline.params.check import load
from stages import meta_pseudo_labels, prepare, pseudo_label, report, student, teacher


def values(**spec) -> dict:
    """A reduced pair of `teacher`, whose teacher teaches on."""
    results = tiny_values()
    pair = results["meta_pseudo_labels"]["m1"] | {"teacher": "teacher", "reduced": True}
    pair |= {"teacher_learning_rate": 0.1, "calibrator_width": 8}
    results["meta_pseudo_labels"] = {"m1": pair | spec}
    results["generations"] = {"g1": results["generations"]["g1"] | {"teacher": "m1-teacher"}}
    return results | {"baselines": {}, "tasks": {}, "final": "g1"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with images and a teacher. Read only."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_params(folder, values())
        prepare.main()
        teacher.main()
    return folder


@pytest.fixture(scope="module")
def done(prepared, tmp_path_factory):
    """The same after the pair. Read only."""
    folder = tmp_path_factory.mktemp("done") / "project"
    shutil.copytree(prepared, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        meta_pseudo_labels.main(["m1"])
    return folder


def base() -> store.Dataset:
    return store.load("data/prepared/base")


def test_the_large_weights_stay_bit_for_bit_and_the_calibrator_learns(done, monkeypatch):
    monkeypatch.chdir(done)
    before = checkpoint.load("models/teacher")[0].state_dict()
    after = checkpoint.load("models/m1-teacher")[0].state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    new = {name.split(".")[0] for name in after.keys() - before.keys()}
    assert new == {"calibrator"} and after["calibrator.layers.2.weight"].abs().max() > 1e-3


def test_the_cards_say_what_is_there_and_how_many_images_were_seen(done, monkeypatch):
    monkeypatch.chdir(done)
    cards = {name: checkpoint.read_card(f"models/{name}") for name in ("m1", "m1-teacher")}
    once = sum(len(base().array(split)) for split in ("labelled", "unlabelled"))
    recipe, mine = load().config("m1").training, cards["m1"]
    steps = recipe.steps * (2 * recipe.batch_size + recipe.num_unlabelled)
    assert cards["m1-teacher"]["images_seen"] == once
    assert mine["images_seen"] == once + steps + 4 * recipe.batch_size  # and the fine-tuning
    assert cards["m1-teacher"]["network"]["calibrator"] == 8
    assert "calibrator" not in mine["network"] and "uda" not in mine["model"]
    assert mine["model"]["reduced"] and mine["model"]["calibrator_width"] == 8


def test_its_curve_is_of_the_model_that_is_written(done, monkeypatch):
    """Evaluations in training go by recorded answers, the card by the whole model."""
    monkeypatch.chdir(done)
    network, card = checkpoint.load("models/m1-teacher")
    labels = torch.from_numpy(base().array("val", "label").copy())
    logits = evaluate.infer(network, base().array("val"))
    assert card["metrics"]["val_acc"] == evaluate.accuracy(logits, labels)
    rows = read_curves(done / "models/m1-teacher/curves.csv")
    assert [row["step"] for row in rows] == ["8", "16", "24"] and "uda" not in rows[0]
    for name in ("val_acc", "val_loss"):
        assert float(rows[-1][name]) == pytest.approx(card["metrics"][name], abs=1e-6)
    start = checkpoint.read_card("models/teacher")["metrics"]["val_loss"]
    assert card["metrics"]["val_loss"] != pytest.approx(start, abs=1e-4)


def test_it_teaches_on_and_is_reported(done, tmp_path, monkeypatch):
    shutil.copytree(done, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    pseudo_label.main(["g1"])
    made, metadata = pseudo_labels.load("data/pseudo_labels/g1.safetensors")
    assert metadata["teacher"]["name"] == "m1-teacher"
    network, _ = checkpoint.load("models/m1-teacher")
    logits = evaluate.infer(network, base().array("unlabelled")[made.index])
    torch.testing.assert_close(
        torch.from_numpy(made.probs).float(), logits.softmax(1), atol=1e-3, rtol=0
    )
    student.main(["g1"])
    report.main()


def test_the_large_teacher_is_away_in_training(prepared, tmp_path, monkeypatch):
    shutil.copytree(prepared, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    loaded, alive = [], []
    load_model, step = checkpoint.load, Pair.step

    def noted(*args, **options):
        network, card = load_model(*args, **options)
        loaded.append(weakref.ref(network))
        return network, card

    def counted(pair, given):
        alive.append(sum(results() is not None for results in loaded))
        return step(pair, given)

    monkeypatch.setattr(checkpoint, "load", noted)
    monkeypatch.setattr(Pair, "step", counted)
    meta_pseudo_labels.main(["m1"])
    assert len(loaded) == 2 and alive == [0] * 24


def test_an_interrupted_pair_ends_in_the_same_bytes(prepared, done, tmp_path, monkeypatch):
    shutil.copytree(prepared, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    steps, step = [], Pair.step

    def cut(pair, given):
        steps.append(pair.num_steps)
        if len(steps) == 8:
            raise KeyboardInterrupt
        return step(pair, given)

    monkeypatch.setenv("LINEAGE_CHECKPOINT_SECONDS", "0.000001")
    monkeypatch.setattr(Pair, "step", cut)
    with pytest.raises(KeyboardInterrupt):
        meta_pseudo_labels.main(["m1"])
    meta_pseudo_labels.main(["m1"])
    assert steps == [*range(8), *range(7, 24)]
    for name in ("m1", "m1-teacher"):
        same_files(tmp_path / "project/models" / name, done / "models" / name)
