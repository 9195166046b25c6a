"""Weights by the names that torchvision has for them; the network is a folder of this machine."""

import argparse
import os
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from faults import lines_with
from hub import MEAN, STD, Hub, ask_by_name
from torchvision.models import get_model_weights
from weights import SHUFFLENET, ZEROS, begin, holds, line, state

from pipeline.commands.check import run
from pipeline.networks import checkpoint
from pipeline.networks.torchvision import NAMES
from pipeline.networks.torchvision_weights import published
from stages import teacher


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Hub:
    return Hub(tmp_path, monkeypatch)


def check() -> None:
    run(argparse.Namespace())


@pytest.mark.parametrize("weights", ["IMAGENET1K_V1", "DEFAULT"])
@pytest.mark.parametrize("name", ["teacher", "g1"])
def test_they_are_what_the_backbone_begins_from(chain, hub, weights, name):
    ask_by_name(name, weights=weights)
    network, card = begin(name)
    assert holds(network.backbone, state())
    assert card["network"]["pretrained"] == hub.sha256
    assert card["network"]["weights"] == "IMAGENET1K_V1"
    assert card["normalisation"] == {"mean": MEAN, "std": STD}
    assert network.mean.flatten().tolist() == pytest.approx(MEAN)
    assert str(hub.cached.parent) not in str(card)


def test_they_are_downloaded_once_and_whole(chain, hub):
    ask_by_name(weights="DEFAULT")
    first = begin()[0].backbone.state_dict()
    hub.served.unlink()
    again = begin()[0].backbone.state_dict()
    assert hub.asked == [hub.served.as_uri()]
    assert all(torch.equal(again[key], value) for key, value in first.items())
    assert [path.name for path in hub.cached.parent.iterdir()] == [hub.cached.name]


def test_a_teacher_trains_from_them_and_its_students_card_has_their_normalisation(chain, hub):
    ask_by_name(weights="DEFAULT")
    teacher.main()
    card = checkpoint.read_card("models/teacher")
    assert card["network"]["pretrained"] == hub.sha256 and card["normalisation"]["mean"] == MEAN


def test_check_asks_for_the_name_and_downloads_nothing(chain, hub, capsys):
    ask_by_name(weights="DEFAULT")
    check()
    assert "params.yaml is right" in capsys.readouterr().out
    assert hub.asked == [] and not hub.cached.exists()


def test_without_a_network_one_line_says_which_file_and_where_to_put_it(chain, hub, monkeypatch):
    def refused(request):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "urlopen", refused)
    ask_by_name(weights="DEFAULT")
    text = line(teacher.main)
    assert text.startswith(f"error: teacher.pretrained.weights: '{hub.cached.name}' cannot be down")
    assert "no route to host" in text and str(hub.cached.parent) in text
    assert "name a file of yours (file, sha256)" in text
    assert list(hub.cached.parent.iterdir()) == []
    hub.served.rename(hub.cached)
    assert holds(begin()[0].backbone, state())


def test_a_download_that_is_cut_short_is_refused_and_leaves_nothing(chain, hub):
    hub.served.write_bytes(hub.served.read_bytes()[:-1])
    ask_by_name(weights="DEFAULT")
    assert "cannot be downloaded (invalid hash value" in line(begin)
    assert list(hub.cached.parent.iterdir()) == []


@pytest.mark.parametrize("call", [check, begin], ids=["check", "begin"])
def test_a_broken_file_in_the_cache_is_refused(chain, hub, call):
    hub.cached.parent.mkdir(parents=True)
    hub.cached.write_bytes(hub.served.read_bytes() + b"x")
    ask_by_name(weights="DEFAULT")
    text = line(call)
    assert text.startswith(f"error: teacher.pretrained.weights: '{hub.cached}' is broken: its sha2")
    assert "fix: delete it" in text and hub.asked == []


def test_a_sha256_beside_the_name_is_that_of_the_whole_file(chain, hub):
    ask_by_name(weights="DEFAULT", sha256=hub.sha256)
    begin()
    ask_by_name(weights="DEFAULT", sha256=hub.sha256[:8] + ZEROS[8:])
    another = f"pretrained.sha256: '{hub.cached.name}' is another file: its sha256 is"
    assert another in line(check) and another in line(begin)
    ask_by_name(weights="DEFAULT", sha256=ZEROS)
    assert f"the sha256 of '{hub.cached.name}' begins with {hub.sha256[:8]}" in line(check)


def test_code_in_a_file_of_that_name_is_not_run(chain, tmp_path, monkeypatch):
    class Malicious:
        def __reduce__(self):
            return os.mkdir, ("it-ran",)

    ask_by_name(weights="DEFAULT")
    Hub(tmp_path, monkeypatch, Malicious())
    text = line(begin)
    assert text.startswith("error: teacher.pretrained.weights: '") and "could run code" in text
    assert not Path("it-ran").exists()


@pytest.mark.parametrize(
    ("network", "weights", "what"),
    [
        (SHUFFLENET, "IMAGENET1K_V2", "has no weights 'IMAGENET1K_V2'; fix: did you mean 'IMAGENE"),
        (SHUFFLENET, "best", "has no weights 'best'; fix: use one of: DEFAULT, IMAGENET1K_V1"),
        ("wide_cnn", "DEFAULT", "'wide_cnn' has no weights by name; fix: name a file (file, sha2"),
    ],
)
def test_a_name_that_is_not_known_is_one_line_before_training(chain, hub, network, weights, what):
    ask_by_name("g1", network, weights=weights)
    for call in (check, lambda: begin("g1")):
        text = line(call)
        assert text.startswith("error: generations.g1.pretrained.weights: ") and what in text
    assert hub.asked == []


@pytest.mark.parametrize(
    ("block", "key", "what"),
    [
        ({"weights": "DEFAULT", "file": "w.pth", "sha256": ZEROS}, "weights", "a name and a file"),
        ({"weights": "DEFAULT", "file": "w.pth"}, "weights", "a name and a file"),
        ({}, "file", "'file' is missing, or `weights` in its place"),
        ({"weights": ""}, "weights", "out of range"),
        ({"weights": 1}, "weights", "of the wrong type"),
    ],
)
def test_a_name_takes_the_place_of_a_file(tmp_path, block, key, what):
    (text,) = lines_with(tmp_path, "generations.g1.pretrained", block)
    assert f"(generations.g1.pretrained.{key})" in text and what in text


@pytest.mark.parametrize("name", NAMES)
def test_every_network_has_weights_with_the_digits_that_torch_checks(name):
    known, theirs = published(f"torchvision/{name}"), get_model_weights(name)
    assert known and "IMAGENET1K_V1" in known or name == "vit_h_14"
    left_out = {n: theirs[n].transforms().crop_size for n in set(theirs.__members__) - set(known)}
    assert all(name.startswith("vit") and size != [224] for size in left_out.values())
    for weights in known.values():
        assert len(weights.digits) >= 8 and weights.digits in weights.file
        assert weights.normalisation["mean"] == list(theirs[weights.name].transforms().mean)
        assert theirs[weights.name].url.endswith(f"/{weights.file}")


def test_weights_for_another_size_than_the_network_takes_are_no_choice():
    assert set(published("torchvision/vit_h_14")) == {"IMAGENET1K_SWAG_LINEAR_V1"}
    assert set(published("torchvision/vit_b_16")) == {
        "DEFAULT",
        "IMAGENET1K_V1",
        "IMAGENET1K_SWAG_LINEAR_V1",
    }
