"""A model that is brought teaches as it is."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_values, write_params

from pipeline.commands.check import run as check
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.core.yaml_file import read
from pipeline.data import store
from pipeline.networks import checkpoint, evaluate
from pipeline.params.check import load
from stages import baseline, pseudo_label, report, student, teacher


@pytest.fixture
def mine(chain) -> Path:
    """The first student of the finished chain, as a model from elsewhere."""
    shutil.copytree("models/g1", "mine/g1")
    for name in ("teacher", "b1"):
        shutil.rmtree(f"models/{name}")
    return chain / "mine/g1"


def params(folder: Path, block: str = "teacher", **changes) -> None:
    """Params with a model in the place of the teacher or the baseline."""
    values = tiny_values()
    sha256 = checkpoint.read_card("mine/g1")["sha256"]
    spec = {"network": "small_cnn", "width": 0.25, "from": {"folder": "mine/g1", "sha256": sha256}}
    spec |= {key: value for key, value in changes.items() if key != "sha256"}
    if "sha256" in changes:
        spec["from"]["sha256"] = changes["sha256"]
    if block == "teacher":
        values["teacher"] = spec
    else:
        values["baselines"]["b1"] = spec
    write_params(folder, values)


def changed(folder: Path, **values) -> None:
    """The card of a model with other values."""
    card = json.loads((folder / "card.json").read_text()) | values
    files.write_sealed(folder / "card.json", {k: v for k, v in card.items() if k != "seal"})


def test_it_is_taken_as_it_is_and_measured_here(mine):
    params(mine.parent.parent)
    teacher.main()
    card = checkpoint.read_card("models/teacher")
    weights = "model.safetensors"
    assert (mine / weights).read_bytes() == Path("models/teacher", weights).read_bytes()
    theirs = checkpoint.read_card(mine)
    assert card["name"] == "teacher" and card["parents"] == {}
    assert card["model"] == {"from": theirs["sha256"]} and card["training"] == theirs["training"]
    dataset = store.load("data/prepared/base")
    network, _ = checkpoint.load("models/teacher")
    labels = torch.from_numpy(dataset.array("val", "label").copy())
    right = evaluate.accuracy(evaluate.infer(network, dataset.array("val")), labels)
    assert card["metrics"]["val_acc"] == pytest.approx(right)
    assert card["data"] == {"base": {"val": dataset.digest("val")}}


def test_its_folder_is_named_from_the_projects_own(mine, tmp_path, monkeypatch):
    """DVC runs an experiment in a temporary folder without what git ignores."""
    project, temporary = mine.parent.parent, tmp_path / "temporary"
    params(project)
    shutil.copytree("data/prepared/base", temporary / "data/prepared/base")
    shutil.copy("params.yaml", temporary)
    monkeypatch.setenv("DVC_ROOT", str(project))
    monkeypatch.chdir(temporary)
    teacher.main()
    assert (temporary / "models/teacher/card.json").is_file()


def test_it_teaches_the_next_generation(mine):
    params(mine.parent.parent)
    teacher.main()
    pseudo_label.main(["g1"])
    student.main(["g1"])
    assert checkpoint.read_card("models/g1")["parents"] == {
        "teacher": checkpoint.read_card(mine)["sha256"]
    }


def test_it_is_reported_without_a_curve_of_its_loss(mine):
    params(mine.parent.parent)
    path = mine.parent.parent / "params.yaml"
    nothing = dict.fromkeys(("generations", "meta_pseudo_labels", "baselines", "tasks"), {})
    write_params(path.parent, read(path).values | nothing | {"final": "teacher"})
    teacher.main()
    report.main()
    numbers = json.loads(Path("report/metrics.json").read_text())
    card = checkpoint.read_card("models/teacher")
    assert numbers["val_acc/teacher"] == pytest.approx(card["metrics"]["val_acc"])


def test_a_baseline_may_be_brought_too(mine):
    params(mine.parent.parent, "baselines")
    baseline.main(["b1"])
    assert checkpoint.read_card("models/b1")["model"] == {
        "from": checkpoint.read_card(mine)["sha256"]
    }


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (
            {"network": "wide_cnn"},
            "network small_cnn, here wide_cnn; fix: write network: small_cnn",
        ),
        ({"width": 0.5}, "width 0.25, here 0.5; fix: write width: 0.25"),
        ({"sha256": "0" * 64}, "'mine/g1' is another model: its sha256 is "),
    ],
)
def test_a_model_that_does_not_fit_is_refused(mine, changes, what):
    params(mine.parent.parent, **changes)
    with pytest.raises(UserError) as caught:
        teacher.main()
    assert what in str(caught.value)
    assert not Path("models/teacher").exists()


def test_classes_in_another_order_are_refused(mine):
    card = json.loads((mine / "card.json").read_text())
    card["heads"][0]["classes"].reverse()
    card["heads"][0]["classes"][0] = "nine"
    changed(mine, heads=card["heads"])
    params(mine.parent.parent)
    with pytest.raises(UserError, match=r"classes \['nine', .*write data.classes in the model'"):
        teacher.main()


def test_a_model_of_tasks_or_of_images_that_are_no_squares_is_refused(mine, monkeypatch):
    heads = checkpoint.read_card(mine)["heads"]
    changed(mine, heads=[*heads, {"task": "t1", "classes": ["new"]}], image_shape=[3, 8, 6])
    params(mine.parent.parent)
    monkeypatch.setattr(checkpoint, "load", lambda *_: (None, checkpoint.read_card(mine)))
    with pytest.raises(UserError) as caught:
        teacher.main()
    said = [line.split(": ", 2)[2].split(" ")[0] for line in caught.value.lines]
    assert said == ["classes", "channels", "heads", "sides"], "all in one pass"


@pytest.mark.parametrize("side", [0, 6])
def test_images_of_another_size_are_resized_to_the_side_that_it_learnt_at(mine, rng, side):
    changed(mine, network=checkpoint.read_card(mine)["network"] | {"image_size": side})
    dataset = store.load("data/prepared/base")
    shape = (40, 1, 12, 12)
    large = rng.integers(0, 256, shape, dtype=np.uint8)
    split = np.array(["labelled", "unlabelled", "val", "test"] * 10)
    texts = {"classes": dataset.classes, "path": [""] * 40, "sha256": [""] * 40}
    store.save("data/prepared/base", large, np.arange(40) % 8, split, **texts)
    params(mine.parent.parent)
    teacher.main()
    card = checkpoint.read_card("models/teacher")
    assert card["image_shape"] == [1, 12, 12] and card["network"]["image_size"] == (side or 8)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training", {"steps": 3}),
        ("methods", {"uda": {}}),
        ("fine_tune", {"steps": 2, "learning_rate": 0.1, "image_size": 0}),
    ],
)
def test_nothing_of_a_training_goes_with_it(mine, key, value):
    params(mine.parent.parent, **{key: value})
    with pytest.raises(UserError, match=rf"\(teacher.{key}\): 'teacher' is taken as it is"):
        load()


def test_check_says_that_there_is_no_such_model(mine):
    params(mine.parent.parent)
    check(None)
    shutil.rmtree(mine)
    with pytest.raises(UserError, match="mine/g1/card.json: no such file"):
        check(None)
