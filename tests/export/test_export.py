"""Exported files: their answers are the model's, for any number of images, or they are not
written."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from cards import card
from conftest import tiny_values, write_params
from jobs import learn_tasks
from scipy.special import softmax

from pipeline.__main__ import main
from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.export import export as exporting
from pipeline.export import formats
from pipeline.export.export import export
from pipeline.export.formats import FORMATS
from pipeline.networks import NETWORKS, checkpoint, evaluate, temperature
from stages import ensemble

EVERY = pytest.mark.parametrize("name", FORMATS)
FAMILIES = """
    resnet18 resnext50_32x4d wide_resnet50_2 densenet121 mobilenet_v2 mobilenet_v3_small
    efficientnet_b0 efficientnet_v2_s convnext_tiny regnet_y_400mf shufflenet_v2_x0_5 vgg11_bn
    vit_b_32 swin_t swin_v2_t maxvit_t
""".split()  # noqa: SIM905 (as in the networks' own list)


def images(num: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(num).integers(0, 256, (num, *shape), dtype=np.uint8)


def answers(folder: Path, name: str):
    """What the file itself says, by another reader than the export's."""
    if name == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / "model.onnx")
        return lambda given: session.run(None, {session.get_inputs()[0].name: given})[0]
    module = torch.export.load(folder / "model.pt2").module()
    return lambda given: module(torch.from_numpy(given)).detach().numpy()


def probabilities(folder: Path, given: np.ndarray) -> np.ndarray:
    """The model's, by the definition."""
    network, made = checkpoint.load(folder)
    with torch.no_grad():
        logits = network(torch.from_numpy(given)).logits.double().numpy()
    return softmax(logits / temperature.of(made), axis=1)


def saved(folder: Path, name: str, shape=(1, 8, 8), image_size: int = 0) -> Path:
    """A network with random weights, calibrated at 1.5."""
    spec = card(name) | {"image_shape": list(shape), "metrics": {"temperature": 1.5}}
    width = 1.0 if "/" in name else spec["network"]["width"]
    spec["network"] = spec["network"] | {"image_size": image_size, "width": width}
    spec["normalisation"] = {"mean": [0.4] * shape[0], "std": [0.2] * shape[0]}
    torch.manual_seed(0)
    network = checkpoint.build(spec)
    with torch.no_grad():
        network(torch.rand(8, *shape))  # moves the statistics of BatchNorm
    checkpoint.save(folder / "g1", network, spec)
    return folder / "g1"


@EVERY
@pytest.mark.parametrize("network", ["small_cnn", "resnet_9"])
def test_any_number_of_images_is_answered_as_by_the_model(tmp_path, network, name):
    folder = saved(tmp_path, network)
    (made,) = export(folder, tmp_path / "out", [name])
    assert made.path == tmp_path / "out" / f"model.{name}" and made.difference < 1e-5
    assert made.num_bytes == made.path.stat().st_size
    said = answers(tmp_path / "out", name)
    for num in (1, 2, 7, 64):
        given = images(num, 1, 8, 8)
        wanted = probabilities(folder, given)
        assert said(given).dtype == np.float32
        np.testing.assert_allclose(said(given), wanted, atol=1e-5)
        np.testing.assert_allclose(made.answers(given), wanted, atol=1e-5)


@pytest.mark.slow
@EVERY
@pytest.mark.parametrize("network", [name for name in NETWORKS if "/" not in name])
def test_each_network_of_ours_is_exported(tmp_path, network, name):
    folder = saved(tmp_path, network, (3, 16, 16))
    export(folder, tmp_path, [name])
    given = images(3, 3, 16, 16)
    said = answers(tmp_path, name)(given)
    np.testing.assert_allclose(said, probabilities(folder, given), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("network", FAMILIES)
def test_one_of_each_family_of_torchvision_is_exported_as_onnx(tmp_path, network):
    network = f"torchvision/{network}"
    side = NETWORKS[network].exact_side or 64
    folder = saved(tmp_path, network, (3, 64, 64), side if side != 64 else 0)
    export(folder, tmp_path, ["onnx"])
    given = images(3, 3, 64, 64)
    said = answers(tmp_path, "onnx")(given)
    np.testing.assert_allclose(said, probabilities(folder, given), atol=1e-4)


@EVERY
def test_images_are_resized_in_the_file(tmp_path, name):
    folder = saved(tmp_path, "small_cnn", (1, 16, 16), image_size=8)
    export(folder, tmp_path, [name])
    given = images(3, 1, 16, 16)
    said = answers(tmp_path, name)(given)
    np.testing.assert_allclose(said, probabilities(folder, given), atol=1e-5)


@EVERY
def test_a_model_that_is_told_the_task_answers_for_each(chain, name):
    values = tiny_values()
    values["tasks"]["t1"]["scenario"] = "task"
    write_params(chain, values)
    learn_tasks("t1")
    export("models/t1", "out", [name])
    said = answers(chain / "out", name)(images(4, 1, 8, 8))
    np.testing.assert_allclose(said[:, :8].sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(said[:, 8:].sum(1), 1, atol=1e-5)


@EVERY
def test_an_ensemble_is_one_file(chain, name):
    write_params(chain, tiny_values() | {"ensembles": {"e1": {"first": "g2", "second": "b1"}}})
    ensemble.main(["e1"])
    export("models/e1", "out", [name])
    val = store.load("data/prepared/base").array("val")[:6].copy()
    wanted = evaluate.infer(checkpoint.load("models/e1")[0], val).double().numpy()
    wanted = softmax(wanted / temperature.of(checkpoint.read_card("models/e1")), 1)
    np.testing.assert_allclose(answers(chain / "out", name)(val), wanted, atol=1e-5)


def test_files_say_what_they_are_of(tmp_path):
    folder = saved(tmp_path, "small_cnn")
    export(folder, tmp_path / "out", ["onnx", "pt2"])
    about = json.loads((tmp_path / "out/card.json").read_text("utf-8"))
    wanted = card("small_cnn")
    assert about["classes"] == ["a", "b", "é"] and about["name"] == wanted["name"]
    assert about["image_shape"] == [1, 8, 8]
    assert about["sha256"] == checkpoint.read_card(folder)["sha256"]
    extra = {"card.json": ""}
    torch.export.load(tmp_path / "out/model.pt2", extra_files=extra)
    assert json.loads(extra["card.json"]) == about
    model = onnx.load(tmp_path / "out/model.onnx")
    onnx.checker.check_model(model, full_check=True)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(kept["classes"]) == about["classes"] and kept["sha256"] == about["sha256"]


@EVERY
def test_a_file_that_answers_otherwise_is_not_written(tmp_path, monkeypatch, name):
    folder, load = saved(tmp_path, "small_cnn"), type(FORMATS[name]).load

    def wrong(self, data):
        said = load(self, data)
        return lambda given: said(given) + np.float32(2e-4 * (len(given) > 2))

    monkeypatch.setattr(type(FORMATS[name]), "load", wrong)
    with pytest.raises(UserError, match=rf"model\.{name}: answers otherwise than 'g1' .* 0.0002"):
        export(folder, tmp_path / "out", [name])
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(exporting, "TOLERANCE", 3e-4)
    export(folder, tmp_path / "out", [name])


def test_answers_that_are_no_numbers_are_not_written(tmp_path, monkeypatch):
    folder = saved(tmp_path, "small_cnn")

    def nothing(self, data):
        return lambda given: np.full((len(given), 3), np.nan, np.float32)

    monkeypatch.setattr(formats.Pt2, "load", nothing)
    with pytest.raises(UserError, match="answers otherwise"):
        export(folder, tmp_path / "out", ["pt2"])


def test_a_package_that_is_missing_is_one_line(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name == "onnx" else find(name))
    with pytest.raises(UserError, match="--format: 'onnx' needs onnx; fix: pip install onnx, or"):
        export(saved(tmp_path, "small_cnn"), tmp_path / "out", ["onnx"])
    export(tmp_path / "g1", tmp_path / "out", ["pt2"])


# --- the command ------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Nothing is timed at length."""
    from pipeline.export import speed

    monkeypatch.setattr(speed, "milliseconds", lambda answers, shape: [1.0, 2.0])


def test_the_command_shows_the_model_beside_its_teacher(chain, quick, capsys):
    main(["export", "--model", "g2", "--format", "pt2", "onnx", "pt2"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == [
        "exported/g2/model.pt2",
        "exported/g2/model.onnx",
    ]
    assert [line.split()[0] for line in lines[5:]] == ["g1", "g2", "g2", "g2"]
    weights = [f"{checkpoint.read_card(f'models/{n}')['num_parameters']:,}" for n in ("g1", "g2")]
    assert [line.split("PyTorch ")[1].split()[1] for line in lines[5:7]] == weights
    assert sorted(p.name for p in (chain / "exported/g2").iterdir()) == [
        "card.json",
        "model.onnx",
        "model.pt2",
    ]


def test_what_ships_is_exported_where_nothing_is_asked_for(chain, quick, capsys):
    ships = json.loads(Path("report/data/verdict.json").read_text())["ships"]
    main(["export", "--format", "pt2", "--to", "there"])
    assert json.loads((chain / "there/card.json").read_text())["name"] == ships


def test_a_teacher_that_was_trained_again_is_not_shown(chain, quick, capsys):
    (chain / "models/g1/card.json").write_text((chain / "models/teacher/card.json").read_text())
    main(["export", "--model", "g2", "--format", "pt2"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[4:]] == ["g2", "g2"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--format", "onxn"], "--format: there is no 'onxn'; fix: did you mean 'onnx'"),
        (["--model", "g9"], "--model: 'g9' is no model"),
    ],
)
def test_wrong_words_are_one_line(chain, words, says):
    with pytest.raises(UserError, match=says):
        main(["export", *words])


def test_times_are_those_of_each_batch(monkeypatch):
    from pipeline.export import speed

    seen = []
    monkeypatch.setattr(speed, "ROUNDS", 1)
    times = speed.milliseconds(lambda given: seen.append(given.shape), (1, 2, 3))
    assert len(times) == 2 and all(0 < time < 5 for time in times)
    assert set(seen) == {(1, 1, 2, 3), (64, 1, 2, 3)}
