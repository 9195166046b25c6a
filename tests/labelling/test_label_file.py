"""The file of pseudo-labels: what went in comes out, bit for bit, or nothing."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import flipped

from pipeline.core.errors import UserError
from pipeline.labelling import pseudo_labels
from pipeline.labelling.pseudo_labels import PseudoLabels

PROBS = np.random.default_rng(0).dirichlet(np.ones(4), 8).astype(np.float16)
LABELS = PseudoLabels(
    index=np.array([4, 1, 1, 0, 7, 3, 2, 2]),
    probs=PROBS,
    label=PROBS.argmax(1),
    weight=np.linspace(0.5, 1, 8, dtype=np.float32),
    kind="soft",
)
CLASSES = ["a", "b", "c", "d"]
METADATA = {"teacher": {"name": "t", "sha256": "0"}, "unlabelled": "1", "classes": CLASSES}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "g1.safetensors"
    pseudo_labels.save(path, LABELS, **METADATA)
    return path


def test_the_file_comes_back_as_it_went_in(path):
    read, metadata = pseudo_labels.load(path)
    assert metadata == {"schema": 3, "kind": "soft", **METADATA}
    kinds = {"index": np.int64, "probs": np.float16, "label": np.int64, "weight": np.float32}
    for name, kind in kinds.items():
        assert getattr(read, name).dtype == kind
        assert np.array_equal(getattr(read, name), getattr(LABELS, name))


def test_the_same_labels_give_the_same_bytes(path, tmp_path):
    again = tmp_path / "again"
    pseudo_labels.save(again, LABELS, **dict(reversed(METADATA.items())))
    assert again.read_bytes() == path.read_bytes()
    pseudo_labels.save(again, replace(LABELS, weight=LABELS.weight * 2), **METADATA)
    assert again.read_bytes() != path.read_bytes()


@pytest.mark.parametrize(("mask", "start"), [(0x01, 0), (0x10, 1), (0x80, 2)])
def test_any_flipped_byte_is_refused(path, mask, start):
    for _ in flipped(path, range(start, path.stat().st_size, 3), mask):
        with pytest.raises(UserError):
            pseudo_labels.load(path)
    pseudo_labels.load(path)


@pytest.mark.parametrize("size", [0, 7, 300, -1])
def test_a_cut_file_is_refused(path, size):
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match="cannot be read"):
        pseudo_labels.load(path)


def test_a_missing_file_and_another_schema_are_refused(path, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no such file"):
        pseudo_labels.load(tmp_path / "nowhere")
    monkeypatch.setattr(pseudo_labels, "SCHEMA", 4)
    with pytest.raises(UserError, match="schema 3, this version reads 4"):
        pseudo_labels.load(path)
