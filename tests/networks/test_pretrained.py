"""Weights from a file are what the network begins from."""

import argparse

import pytest
import torch
from conftest import tiny_values, write_params
from weights import SHUFFLENET, ZEROS, begin, holds, line, put, state

from pipeline.commands.check import run as check
from pipeline.core import files
from pipeline.core.yaml_file import read
from pipeline.networks import by_name, checkpoint, pretrained
from pipeline.networks.published import Published
from pipeline.params.check import load
from stages import teacher


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
    begun, results = begin()
    assert holds(begun.backbone, network.backbone.state_dict())
    expected = card["normalisation"] | ({"mean": [0.25]} if whole else {})
    assert results["normalisation"]["mean"] == expected["mean"]
    assert results["normalisation"]["std"] == pytest.approx(expected["std"])


IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
HALF = {"mean": [0.5] * 3, "std": [0.5] * 3}


@pytest.mark.parametrize(("channels", "theirs"), [(1, True), (3, True), (4, False)])
def test_a_librarys_normalisation_is_for_images_in_grey_or_colour(channels, theirs):
    card = {"network": {"name": SHUFFLENET}, "image_shape": [channels, 8, 8], "normalisation": {}}
    given = pretrained.Given("teacher.pretrained", "w.pth", ZEROS, {}, normalisation=HALF)
    assert pretrained.noted(card, given)["normalisation"] == (HALF if theirs else {})


@pytest.mark.parametrize(
    ("network", "sha256", "expected"),
    [
        (SHUFFLENET, ZEROS, IMAGENET),
        ("torchvision/efficientnet_v2_l", ZEROS, HALF),
        ("torchvision/vit_h_14", ZEROS, IMAGENET),
        ("wide_cnn", ZEROS, None),
    ],
)
def test_a_file_for_a_librarys_network_has_the_normalisation_of_its_own_weights(
    network, sha256, expected
):
    assert by_name.normalisation(network, sha256) == expected


def test_a_librarys_own_file_is_known_by_its_digits(monkeypatch):
    names = {"DEFAULT": ("00000000", HALF), "OLD": ("11111111", IMAGENET)}
    files = {
        name: Published(name, "w.pth", digits, seen, "", None, None)
        for name, (digits, seen) in names.items()
    }
    monkeypatch.setitem(by_name.LIBRARIES, "torchvision", lambda network: files)
    assert by_name.normalisation(SHUFFLENET, "1" * 64) == IMAGENET
    assert by_name.normalisation(SHUFFLENET, ZEROS) == HALF


def test_a_file_is_looked_for_in_the_project_itself(chain, monkeypatch, tmp_path):
    put(state())
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "data/digits").mkdir(parents=True)
    (elsewhere / "params.yaml").write_text((chain / "params.yaml").read_text())
    monkeypatch.setenv("DVC_ROOT", str(chain))
    monkeypatch.chdir(elsewhere)
    check(argparse.Namespace())
    assert pretrained.read("teacher.pretrained", load().teacher.pretrained, SHUFFLENET) is not None


@pytest.mark.parametrize("train", ["all", "new_head"])
def test_a_teacher_trains_from_the_file(chain, train):
    put(state(), training={"train": train, "ema": 0.0})
    teacher.main()
    network, card = checkpoint.load("models/teacher")
    assert holds(network.backbone, state()) is (train == "new_head")
    assert card["network"]["pretrained"] == files.sha256("weights/w.pth")
