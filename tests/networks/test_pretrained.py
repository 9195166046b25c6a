"""Weights from a file: they are what the network begins from, or one line says why not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT, tiny_values, write_params
from safetensors.torch import save_file
from test_params import lines_with
from torchvision.models import get_model

from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.core.yaml_file import read
from pipeline.data import store
from pipeline.networks import NETWORKS
from pipeline.networks.classifier import checkpoint, pretrained
from pipeline.params.check import load
from pipeline.students import learn as self_training
from stages import student, teacher

SHUFFLENET = "torchvision/shufflenet_v2_x0_5"
ZEROS = "0" * 64


def state(name: str = "shufflenet_v2_x0_5", seed: int = 3) -> dict[str, torch.Tensor]:
    """What torchvision's own file of a network holds."""
    torch.manual_seed(seed)
    return get_model(name, weights=None).state_dict()


def ask(sha256: str | None, file="weights/w.pth", name="teacher", **keys) -> None:
    """Params whose model `name` begins from a file, in the working folder."""
    values = tiny_values()
    baseline = {"b1": {"learner": "supervised", "network": "small_cnn", "width": 0.25}}
    values |= {"baselines": baseline}
    models = {"teacher": values["teacher"], **values["generations"], **baseline}
    model = models[name]
    sha256 = files.sha256(file) if sha256 is None else sha256
    model |= {"pretrained": {"file": file, "sha256": sha256}} | keys
    write_params(Path("."), values)


def put(content: object, file="weights/w.pth", name="teacher", **keys) -> None:
    """A file of weights, and params that name it."""
    Path("weights").mkdir(exist_ok=True)
    save_file(content, file) if file.endswith("safetensors") else torch.save(content, file)
    ask(None, file, name, **{"network": SHUFFLENET, "width": 1.0} | keys)


def begin(name: str = "teacher"):
    """The network of that model before its first step, and its card."""
    parents = {} if name == "teacher" else {"teacher": ZEROS}
    job = self_training.Job(name, load(), store.load("data/prepared/base"), parents)
    return self_training.begin(job, self_training.describe(job), torch.device("cpu"))


def line(call) -> str:
    with pytest.raises(UserError) as caught:
        call()
    (text,) = caught.value.lines
    assert "\n" not in text and "; fix: " in text
    return text


def holds(backbone, tensors: dict[str, torch.Tensor], but: str = "fc.") -> bool:
    ours = backbone.state_dict()
    same = all(torch.equal(ours[k], v) for k, v in tensors.items() if not k.startswith(but))
    return same and len(ours) == sum(not k.startswith(but) for k in tensors)


# --- what fits --------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["weights/w.pth", "weights/w.pt", "weights/w.safetensors"])
@pytest.mark.parametrize("name", ["teacher", "g1", "b1"])
def test_torchvisions_file_is_what_the_backbone_begins_from(chain, file, name):
    put(state(), file, name=name)
    network, card = begin(name)
    assert holds(network.backbone, state())
    assert card["network"]["pretrained"] == files.sha256(file)
    assert "weights/" not in str(card)
    assert card["normalisation"] == {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert network.std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])


def test_a_student_that_begins_with_its_teachers_weights_has_its_normalisation(chain):
    put(state(), training={"image_size": 0})
    teacher.main()
    values = read("params.yaml").values
    values["generations"]["g1"] |= {"network": SHUFFLENET, "width": 1.0, "init": "teacher"}
    write_params(chain, values)
    network, card = begin("g1")
    theirs, taught = checkpoint.load("models/teacher")
    assert card["normalisation"] == taught["normalisation"] and len(network.mean.flatten()) == 3
    ours = network.state_dict()
    assert all(torch.equal(ours[key], value) for key, value in theirs.state_dict().items())


def test_a_file_and_the_teachers_weights_exclude_each_other(chain):
    put(state(), name="g1", network="small_cnn", width=0.25, init="teacher")
    assert "generations.g1.pretrained" in line(load)


def test_the_head_is_drawn_as_without_a_file(chain):
    put(state())
    head = begin()[0].heads["task_base"].weight
    values = tiny_values()
    values["teacher"] |= {"network": SHUFFLENET, "width": 1.0}
    write_params(chain, values)
    network, card = begin()
    assert torch.equal(network.heads["task_base"].weight, head)
    assert not holds(network.backbone, state())
    assert "pretrained" not in card["network"] and len(card["normalisation"]["mean"]) == 1


def test_without_the_classifier_and_the_counters_of_batch_norm_it_fits_too(chain):
    cut = {k: v for k, v in state().items() if "num_batches" not in k and k[:3] != "fc."}
    assert len(cut) < len(state()) - 2
    put(cut)
    ours = begin()[0].backbone.state_dict()
    assert all(torch.equal(ours[key], value) for key, value in cut.items())


def test_half_precision_is_made_whole(chain):
    put({k: v.half() if v.is_floating_point() else v for k, v in state().items()})
    weight = begin()[0].backbone.conv1[0].weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, state()["conv1.0.weight"].half().float())


def test_the_names_in_torchvisions_old_densenet_file_are_known():
    old = "features.denseblock1.denselayer2.norm.1.weight"
    given = {old: torch.ones(1), "features.norm0.weight": torch.ones(1), "classifier.bias": 0}
    assert set(pretrained._of_backbone(given, "classifier")) == {
        "features.denseblock1.denselayer2.norm1.weight",
        "features.norm0.weight",
    }


@pytest.mark.parametrize("whole", [True, False])
def test_a_model_of_our_own_or_its_backbone_can_be_begun_from(chain, whole):
    network, card = checkpoint.load("models/g2")
    given = network.state_dict() if whole else network.backbone.state_dict()
    if whole:
        given = given | {"mean": torch.full((1, 1, 1, 1), 0.25)}
    put(given, "weights/g2.safetensors", network="wide_cnn", width=0.25)
    begun, found = begin()
    assert holds(begun.backbone, network.backbone.state_dict())
    expected = card["normalisation"] | ({"mean": [0.25]} if whole else {})
    assert found["normalisation"]["mean"] == expected["mean"]
    assert found["normalisation"]["std"] == pytest.approx(expected["std"])


@pytest.mark.parametrize(
    ("network", "channels", "imagenet"),
    [(SHUFFLENET, 1, True), (SHUFFLENET, 3, True), (SHUFFLENET, 4, False), ("wide_cnn", 3, False)],
)
def test_imagenets_normalisation_is_for_torchvisions_networks(network, channels, imagenet):
    card = {"network": {"name": network}, "image_shape": [channels, 8, 8], "normalisation": {}}
    given = pretrained.Given("teacher.pretrained", "w.pth", ZEROS, {})
    assert pretrained.noted(card, given)["normalisation"] == (
        pretrained.IMAGENET if imagenet else {}
    )


def test_a_file_is_looked_for_in_the_project_itself(chain, monkeypatch, tmp_path):
    put(state())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "params.yaml").write_text((chain / "params.yaml").read_text())
    monkeypatch.setenv("DVC_ROOT", str(chain))
    monkeypatch.chdir(elsewhere)
    pretrained.check(load())
    assert pretrained.read(load(), "teacher") is not None


@pytest.mark.parametrize("train", ["all", "new_head"])
def test_a_teacher_trains_from_the_file(chain, train):
    put(state(), training={"train": train, "ema": 0.0})
    teacher.main()
    network, card = checkpoint.load("models/teacher")
    assert holds(network.backbone, state()) is (train == "new_head")
    assert card["network"]["pretrained"] == files.sha256("weights/w.pth")


# --- what does not ----------------------------------------------------------------------------


def misfit(content: dict, **options) -> str:
    put(content, **options)
    return line(begin)


def test_missing_wrong_and_unknown_weights_are_counted_and_the_first_are_named(chain):
    given = state()
    del given["conv1.0.weight"]
    given["conv1.1.bias"] = torch.zeros(7)
    given["more"] = torch.zeros(1)
    given["still.more"] = torch.zeros(1)
    text = misfit(given)
    shown = "conv1.0.weight (missing), conv1.1.bias (7, needs 24), more (unknown), ...;"
    told = f"error: teacher.pretrained: of the weights in 'weights/w.pth' 4 do not fit: {shown}"
    assert text.startswith(told)


def test_another_networks_weights_are_refused(chain):
    assert "conv1.0.weight (missing), " in misfit(state("mobilenet_v3_small"))


def test_a_deeper_network_of_the_family_is_refused_though_all_weights_are_found(chain):
    assert "layer3.6.conv1.weight (unknown)" in misfit(
        state("resnet101"), network="torchvision/resnet50"
    )


def test_colour_weights_do_not_fit_four_channels():
    given = pretrained.Given("teacher.pretrained", "w.pth", ZEROS, state())
    backbone = NETWORKS[SHUFFLENET](4, 1.0, 0.0)
    text = line(lambda: pretrained.fill(backbone, given))
    assert "1 do not fit: conv1.0.weight (24x3x3x3, needs 24x4x3x3);" in text


class Malicious:
    """What a pickle can do when it is read as torch once did."""

    def __reduce__(self):
        return os.mkdir, ("it-ran",)


@pytest.mark.parametrize("content", [Malicious(), {"conv1.0.weight": Malicious()}])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(chain, content, zipped):
    Path("weights").mkdir()
    torch.save(content, "weights/w.pth", _use_new_zipfile_serialization=zipped)
    ask(None, network=SHUFFLENET, width=1.0)
    text = line(begin)
    assert text.startswith("error: teacher.pretrained.file: '") and "could run code" in text
    assert not Path("it-ran").exists()
    torch.load("weights/w.pth", weights_only=False)  # whereas here
    assert Path("it-ran").exists()


@pytest.mark.parametrize("file", ["weights/w.pth", "weights/w.safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"nothing of the kind", b"\x80\x02}q\x00.", b"PK\x03\x04"]
)
def test_a_file_of_another_kind_is_one_line(chain, file, content):
    Path("weights").mkdir()
    Path(file).write_bytes(content)
    ask(None, file, network=SHUFFLENET, width=1.0)
    text = line(begin)
    assert text.startswith("error: teacher.pretrained.file: '") and file in text


@pytest.mark.parametrize("keep", [100, -100])
def test_half_a_file_is_one_line(chain, keep):
    put(state())
    path = Path("weights/w.pth")
    path.write_bytes(path.read_bytes()[:keep])
    ask(None, network=SHUFFLENET, width=1.0)
    assert line(begin).startswith("error: teacher.pretrained.file: '")


@pytest.mark.parametrize(
    "content",
    [{"model": state()}, [torch.ones(2)], torch.ones(2), {}, {"epoch": 3}, {0: torch.ones(2)}, 7],
)
def test_what_is_no_state_dict_is_one_line(chain, content):
    put(content)
    assert "is no state dict" in line(begin)


@pytest.mark.parametrize(
    ("file", "sha256", "key", "what"),
    [
        ("weights/w.pth", ZEROS, "sha256", "its sha256 is {}; fix: put that one there"),
        ("weights/v.pth", ZEROS, "file", "no such file: 'weights/v.pth'"),
        ("weights", ZEROS, "file", "of an unknown kind"),
        ("weights/w.bin", ZEROS, "file", "of an unknown kind; fix: name a file in .safetensors,"),
    ],
)
@pytest.mark.parametrize("name", ["teacher", "g1"])
def test_a_file_that_is_not_the_one_named_is_one_line_before_training(
    chain, file, sha256, key, what, name
):
    put(state())
    ask(sha256, file, name, network=SHUFFLENET, width=1.0)
    stage = teacher.main if name == "teacher" else lambda: student.main(["g1"])
    place = name if name == "teacher" else f"generations.{name}"
    before = Path(f"models/{name}/model.safetensors").read_bytes()
    for text in (line(stage), line(lambda: pretrained.check(load()))):
        assert text.startswith(f"error: {place}.pretrained.{key}: ") and f"'{file}'" in text
        assert what.format(files.sha256("weights/w.pth")) in text
    assert Path(f"models/{name}/model.safetensors").read_bytes() == before


def test_check_tells_all_files_at_once_without_torch(project):
    values = tiny_values()
    for spec in (values["teacher"], values["generations"]["g2"]):
        spec["pretrained"] = {"file": "w.pth", "sha256": ZEROS}
    write_params(project, values)
    code = "import sys; from pipeline.params import load; from pipeline import pretrained\n"
    code += "try: pretrained.check(load())\nexcept Exception as error: print(*error.lines, sep='|')"
    code += "\nprint('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, env=environment, capture_output=True, text=True
    )
    told, torch_there = done.stdout.splitlines()
    places = [text.split(": ")[1] for text in told.split("|")]
    assert places == ["teacher.pretrained.file", "generations.g2.pretrained.file"]
    assert torch_there == "False"


# --- params.yaml ------------------------------------------------------------------------------


@pytest.mark.parametrize("sha256", ["", "abc", "A" * 64, "0" * 63, "0" * 65, f"{ZEROS}\n"])
def test_a_sha256_of_another_form_is_one_line(tmp_path, sha256):
    (text,) = lines_with(tmp_path, "teacher.pretrained", {"file": "w.pth", "sha256": sha256})
    assert "(teacher.pretrained.sha256)" in text and "of another form; fix: expected text, " in text


@pytest.mark.parametrize(
    ("block", "key"),
    [
        ({"file": "w.pth"}, "sha256"),
        ({"sha256": ZEROS}, "file"),
        ({"file": "", "sha256": ZEROS}, "file"),
        ({"file": "w.pth", "sha256": ZEROS, "url": "x"}, "url"),
    ],
)
def test_the_block_has_a_file_and_a_sha256(tmp_path, block, key):
    (text,) = lines_with(tmp_path, "generations.g1.pretrained", block)
    assert f"(generations.g1.pretrained.{key})" in text


def test_a_task_begins_from_its_base(tmp_path):
    (text,) = lines_with(tmp_path, "tasks.t1.pretrained", {"file": "w.pth", "sha256": ZEROS})
    assert "unknown key 'pretrained'" in text
