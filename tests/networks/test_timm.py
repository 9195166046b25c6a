"""timm's networks and weights; where it is not installed, a stub stands for it."""

import argparse
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from conftest import tiny_values, write_params
from faults import assert_names, lines_with
from hub import ask_by_name
from safetensors.torch import save_file
from torch import nn
from weights import ZEROS, ask, begin, line

from pipeline.commands.check import run
from pipeline.core import files, machine
from pipeline.core.errors import UserError
from pipeline.core.machine import Machine
from pipeline.networks import architecture_of, checkpoint, timm
from stages import teacher

TINY = "timm/tiny_net"
CONFIG = {"architecture": "tiny_net", "tag": "a1_in1k", "hf_hub_id": "timm/tiny_net.a1_in1k"}
CONFIG |= {"input_size": (3, 40, 40), "fixed_input_size": False, "min_input_size": None}
CONFIG |= {"hf_hub_filename": None, "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}


class TinyNet(nn.Module):
    """A network as timm makes them."""

    def __init__(self, num_classes: int = 5, in_chans: int = 3, drop_path_rate: float = 0.0):
        super().__init__()
        self.stem = nn.Conv2d(in_chans, 4, 4, 4)
        self.drop, self.drop_path_rate = nn.Dropout(0.0), drop_path_rate
        self.num_features, self.head_hidden_size = 4, 6
        self.hidden = nn.Linear(4, 6)
        self.fc = nn.Linear(6, num_classes) if num_classes else nn.Identity()
        self.pretrained_cfg = {"classifier": "fc"}

    def forward(self, images):
        return self.fc(self.hidden(self.drop(self.stem(images)).mean((2, 3))))


def create(name: str, pretrained: bool = False, **options) -> nn.Module:
    assert not pretrained
    if name == "plain_net" and "drop_path_rate" in options:
        raise TypeError("__init__() got an unexpected keyword argument 'drop_path_rate'")
    return TinyNet(**options)


@pytest.fixture
def stub(monkeypatch, tmp_path) -> SimpleNamespace:
    """timm with two networks and a third of one size, and a hub with a file."""
    module, hub = ModuleType("timm"), ModuleType("huggingface_hub")
    tagged = {f"tiny_net.{tag}": SimpleNamespace(**CONFIG | {"tag": tag}) for tag in ("a1_in1k",)}
    foreign = CONFIG | {"tag": "clip", "hf_hub_id": "elsewhere/clip"}
    tagged["tiny_net.clip"] = SimpleNamespace(**foreign)
    sized = SimpleNamespace(**CONFIG | {"fixed_input_size": True})
    known = tagged | {"tiny_net": tagged["tiny_net.a1_in1k"], "sized_net": sized}
    module.list_models = lambda: ["plain_net", "sized_net", "tiny_net"]
    module.list_pretrained = lambda pattern: sorted(tagged)
    module.get_pretrained_cfg = lambda name: known.get(name)
    module.create_model = create
    torch.manual_seed(4)
    served = SimpleNamespace(state=TinyNet().state_dict(), asked=[], cached=tmp_path / "hub.bin")
    save_file(served.state, tmp_path / "model.safetensors")
    served.sha256 = files.sha256(tmp_path / "model.safetensors")

    def download(repository: str, file: str) -> str:
        served.asked.append((repository, file))
        served.cached = tmp_path / file
        return str(served.cached)

    hub.hf_hub_download = download
    found = object()  # the hub's word for what it knows not to be there
    hub.try_to_load_from_cache = lambda repository, file: (
        str(served.cached) if served.cached.exists() else found
    )
    monkeypatch.setitem(sys.modules, "timm", module)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    return served


@pytest.fixture
def none(monkeypatch) -> None:
    """timm cannot be imported."""
    monkeypatch.setitem(sys.modules, "timm", None)


def card(name: str, shape=(3, 40, 40), **network) -> dict:
    spec = {"name": name, "width": 1.0, "stochastic_depth": 0.0, "dropout": 0.3, "image_size": 0}
    normalisation = {"mean": [0.5] * shape[0], "std": [0.25] * shape[0]}
    heads = [{"task": "base", "classes": ["a", "b"]}]
    described = {"name": "g1", "network": spec | network, "image_shape": list(shape)}
    return described | {"heads": heads, "normalisation": normalisation}


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["teacher.network", "meta_pseudo_labels.m1.network"])
@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("timm/tiny_nett", "did you mean 'timm/tiny_net'?"),
        ("timm/tiny_net.a1_in1k", "did you mean 'timm/tiny_net'?"),
        ("timm/####", "see `timm.list_models()`"),
    ],
)
def test_an_unknown_network_is_one_line_with_the_nearest_name(stub, tmp_path, key, name, fix):
    (text,) = lines_with(tmp_path, key, name)
    assert_names(text, key)
    assert f"timm has no network '{name}'; fix: {fix}" in text


def test_without_timm_one_line_says_how_to_get_it(none, tmp_path):
    (text,) = lines_with(tmp_path, "teacher.network", "timm/resnet18")
    assert "'timm/resnet18' is timm's, which is not installed; fix: pip install timm" in text
    with pytest.raises(UserError, match="pip install timm"):
        checkpoint.build(card("timm/resnet18"))
    (text,) = lines_with(tmp_path, "teacher.network", "tim/resnet18")
    assert "'tim/resnet18' is no such choice" in text


def test_a_network_of_one_size_is_asked_for_it(stub, tmp_path):
    (text,) = lines_with(tmp_path, "teacher", {"network": "timm/sized_net"})
    assert "(teacher.training.image_size): 'timm/sized_net' takes images of 40x40 alone" in text


def test_another_width_is_one_line(stub, tmp_path):
    (text,) = lines_with(tmp_path, "teacher", {"network": TINY, "width": 2.0})
    assert "(teacher.width): 'timm/tiny_net' has one width; fix: set it to 1" in text


def test_stochastic_depth_where_there_is_none_is_one_line_before_training(stub):
    backbone = architecture_of(TINY).build(3, 1.0, 0.25)
    assert backbone.drop_path_rate == 0.25
    with pytest.raises(UserError, match="training.stochastic_depth: 'timm/plain_net' has none to"):
        architecture_of("timm/plain_net").build(3, 1.0, 0.25)


def test_small_images_are_one_line(stub):
    with pytest.raises(UserError, match="needs images of at least 32x32, these are 31x40"):
        checkpoint.build(card(TINY, (3, 31, 40)))


# --- as a model ------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "taken"), [(1, 3), (2, 2), (3, 3), (4, 4)])
def test_a_model_comes_back_bit_for_bit(stub, tmp_path, channels, taken):
    described = card(TINY, (channels, 40, 40))
    network = checkpoint.build(described).eval()
    assert network.backbone.stem.in_channels == taken
    assert network.heads["task_base"].in_features == 6 and network.backbone.drop.p == 0
    images = torch.randint(0, 256, (2, channels, 40, 40), dtype=torch.uint8)
    checkpoint.save(tmp_path / "m", network, described)
    assert torch.equal(checkpoint.load(tmp_path / "m")[0](images).logits, network(images).logits)


def test_a_teacher_trains_from_a_file_with_timms_names(chain, stub):
    torch.save(stub.state, "w.pth")
    recipe = {"image_size": 40, "train": "new_head"}
    ask(None, "w.pth", network=TINY, width=1.0, training=recipe)
    run(argparse.Namespace())
    teacher.main()
    backbone = checkpoint.load("models/teacher")[0].backbone.state_dict()
    assert backbone.keys() == stub.state.keys() - {"fc.weight", "fc.bias"}
    assert all(torch.equal(value, stub.state[key]) for key, value in backbone.items())


@pytest.mark.parametrize(("side", "bf16"), [(31, False), (32, True)])
def test_on_a_cpu_small_images_go_in_full_precision(stub, monkeypatch, side, bf16):
    """In bf16 torch leaves gradients unset where a strided convolution sees a single pixel."""
    monkeypatch.setattr(machine, "_fast_bf16", lambda device: True)
    monkeypatch.setattr(TinyNet, "__module__", "timm.models.tiny")
    network = checkpoint.build(card(TINY))
    with machine.configure(Machine(threads=1, dtype="bfloat16"), network, side**2)():
        assert torch.is_autocast_enabled("cpu") is bf16


# --- weights by name -------------------------------------------------------------------------


def ask_weights(weights: str, **more: str) -> None:
    ask_by_name(network=TINY, weights=weights, **more)
    values = tiny_values()
    values["teacher"] = {"network": TINY, "training": {"image_size": 40}}
    values["teacher"]["pretrained"] = {"weights": weights, **more}
    write_params(Path("."), values)


@pytest.mark.parametrize("weights", ["a1_in1k", "DEFAULT"])
def test_weights_by_their_tag_are_what_the_backbone_begins_from(chain, stub, weights):
    ask_weights(weights, sha256=stub.sha256)
    run(argparse.Namespace())
    assert stub.asked == []
    network, described = begin()
    assert torch.equal(network.backbone.hidden.weight, stub.state["hidden.weight"])
    assert described["normalisation"] == {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    assert described["network"]["weights"] == "a1_in1k"
    assert described["network"]["pretrained"] == stub.sha256
    begin()
    assert stub.asked == [("timm/tiny_net.a1_in1k", "model.safetensors")]


def test_which_file_a_tag_is_must_be_said_and_the_line_says_it(chain, stub):
    ask_weights("a1_in1k")
    for call in (begin, lambda: run(argparse.Namespace())):
        text = line(call)
        assert "teacher.pretrained.sha256: " in text and "'sha256' is missing" in text
        assert f"add it; today's is {stub.sha256}" in text
    ask_weights("a1_in1k", sha256=ZEROS)
    assert f"is another file: its sha256 is {stub.sha256}" in line(begin)


@pytest.mark.parametrize("weights", ["clip", "a1_in22k"])
def test_an_unknown_tag_or_one_of_another_form_is_one_line(chain, stub, weights):
    ask_weights(weights, sha256=ZEROS)
    text = line(lambda: run(argparse.Namespace()))
    assert f"teacher.pretrained.weights: 'timm/tiny_net' has no weights '{weights}'" in text


def test_without_a_network_one_line_says_what_else_there_is(chain, stub):
    def refused(repository: str, file: str) -> str:
        raise OSError("no route to host\nand more")

    sys.modules["huggingface_hub"].hf_hub_download = refused
    ask_weights("a1_in1k", sha256=stub.sha256)
    text = line(begin)
    assert "cannot be downloaded (no route to host); fix: name a file of yours" in text


# --- the real one ----------------------------------------------------------------------------

REAL = ["resnet18", "mobilenetv3_small_100", "vit_tiny_patch16_224", "convnext_atto", "vgg11"]


@pytest.mark.parametrize("name", REAL)
def test_features_are_what_timms_classifier_stands_on(name):
    real = pytest.importorskip("timm")
    torch.manual_seed(0)
    of = architecture_of(f"timm/{name}")
    side = of.exact_side or 32
    ours = of.build(1, 1.0, 0.0).eval()
    theirs = real.create_model(name, pretrained=False).eval()
    theirs.load_state_dict(ours.state_dict(), strict=False)
    grey = torch.rand(2, 1, side, side)
    colour = theirs.forward_head(theirs.forward_features(grey.repeat(1, 3, 1, 1)), pre_logits=True)
    assert torch.allclose(ours(grey), colour, atol=1e-6) and colour.shape[1] == ours.num_features
    missing = set(theirs.state_dict()) - set(ours.state_dict())
    assert missing == {f"{ours.stripped}.weight", f"{ours.stripped}.bias"}
    assert of.exact_side == (224 if name.startswith("vit") else 0)


@pytest.mark.parametrize("name", REAL)
def test_stochastic_depth_is_timms_where_it_has_it(name):
    pytest.importorskip("timm")
    if name == "vgg11":
        with pytest.raises(UserError, match="has none to set to 0.2"):
            timm.build(f"timm/{name}", 3, 1, 0.2)
        return
    timm.build(f"timm/{name}", 3, 1, 0.2)


def test_timms_own_weights_are_known_by_tag():
    pytest.importorskip("timm")
    from pipeline.networks.timm_weights import published

    known = published("timm/resnet50")
    assert known["DEFAULT"] is known["a1_in1k"] and len(known) > 10
    assert known["a1_in1k"].file == "timm/resnet50.a1_in1k/model.safetensors"
