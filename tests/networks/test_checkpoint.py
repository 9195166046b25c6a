"""A finished model: comes back bit for bit, or not at all."""

import pytest
import torch
from cards import card
from conftest import flipped, same_files

from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.networks import NETWORKS, checkpoint


def build(name="small_cnn", seed=0):
    torch.manual_seed(seed)
    return checkpoint.build(card(name))


@pytest.fixture
def folder(tmp_path):
    checkpoint.save(tmp_path / "g1", build(), card())
    return tmp_path / "g1"


@pytest.mark.parametrize("name", [name for name in NETWORKS if "/" not in name])
def test_a_model_comes_back_bit_for_bit_in_eval_mode(tmp_path, name):
    network = build(name)
    network(torch.rand(4, 1, 8, 8))  # moves the statistics of BatchNorm
    written = checkpoint.save(tmp_path, network, card(name))
    read, read_card = checkpoint.load(tmp_path)
    ours, theirs = network.state_dict(), read.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)
    assert read_card == written and not read.training
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(read(images).logits, network.eval()(images).logits)


def test_the_card_says_what_was_asked_and_what_was_made(folder):
    results = checkpoint.read_card(folder)
    assert card().items() <= results.items()
    assert results["sha256"] == files.sha256(folder / "model.safetensors")
    assert results["num_parameters"] == sum(p.numel() for p in build().parameters())
    assert results["kind"] == "classification"
    assert checkpoint.classes(results) == ["a", "b", "é"]


def test_the_same_seed_gives_the_same_bytes(folder, tmp_path):
    checkpoint.save(tmp_path / "again", build(), dict(reversed(card().items())))
    same_files(folder, tmp_path / "again")
    checkpoint.save(tmp_path / "other", build(seed=1), card())
    weights = [tmp_path / name / "model.safetensors" for name in ("again", "other")]
    assert weights[0].read_bytes() != weights[1].read_bytes()


def test_one_flipped_byte_of_the_weights_is_refused(folder):
    path = folder / "model.safetensors"
    places = {*range(0, path.stat().st_size, 101), path.stat().st_size - 1}
    for _ in flipped(path, sorted(places)):
        with pytest.raises(UserError, match=r"model.safetensors: sha256 differs"):
            checkpoint.load(folder)
    checkpoint.load(folder)


@pytest.mark.parametrize(("mask", "start"), [(0x01, 0), (0x10, 1), (0x80, 2)])
def test_one_flipped_byte_of_the_card_is_refused(folder, mask, start):
    path = folder / "card.json"
    whole = path.read_bytes()
    for place in flipped(path, range(start, len(whole), 3), mask):
        if whole[place - 16 : place + 1] == b"30000000000000004":
            continue  # ...05 is read as the very same number
        with pytest.raises(UserError):
            checkpoint.read_card(folder)
    checkpoint.read_card(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "card.json"])
def test_a_missing_or_cut_file_is_refused(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes()[:50])
    with pytest.raises(UserError, match=name):
        checkpoint.load(folder)
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{name}: no such file"):
        checkpoint.load(folder)
