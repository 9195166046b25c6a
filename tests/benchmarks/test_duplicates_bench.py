"""The study of near-duplicates: its copies, what it counts as found, its rows."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks import duplicates
from pipeline.sources.duplicates import Pairs


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return duplicates.drawn(12, 48)


def test_copies_are_altered_and_the_same_each_time(pictures):
    for kind in duplicates.KINDS:
        copies = duplicates.altered(pictures[:3], kind)
        assert copies.shape == (3, 3, 48, 48) and copies.dtype == np.uint8
        assert np.array_equal(copies, pictures[:3]) == (kind == "PNG")
        assert np.array_equal(copies, duplicates.altered(pictures[:3], kind))


def test_a_crop_leaves_out_what_it_should():
    image = np.zeros((100, 100, 3), dtype=np.uint8)
    image[10:90, 20:90] = 255
    crop = duplicates.cropped(Image.fromarray(image), np.array([0.2, 0.1, 0.1, 0.1]))
    assert crop.size == (100, 100) and np.asarray(crop).min() > 150


def test_copies_count_as_found_by_their_own_image_alone(pictures, monkeypatch):
    pairs = np.array([[0, 2], [1, 4], [3, 15], [4, 14], [5, 6]])  # two copies, 12 images, two more
    similarity = np.ones(5, dtype=np.float32)
    asked = []

    def found(images: np.ndarray, of: np.ndarray) -> Pairs:
        asked.append((len(images), of.tolist()))
        return Pairs(pairs, similarity)

    monkeypatch.setattr(duplicates, "among", found)
    assert duplicates.num_found(pictures, pictures[:4]) == 2  # 0 of 2, and 14 of 4 (2 + 2)
    assert asked == [(16, [True] * 2 + [False] * 12 + [True] * 2)]


def test_a_sheet_shows_every_pair(pictures, tmp_path):
    pairs = Pairs(np.array([[0, 1]] * 9), np.linspace(0.7, 1, 9, dtype=np.float32))
    duplicates.save_sheet(pictures, pairs, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (8 * 200, 2 * 112)


def test_rows_are_printed_of_few_images(monkeypatch, capsys, tmp_path):
    few = ["--num", "24", "--copies", "4", "--size", "20", "--sheet", str(tmp_path / "sheet.png")]
    monkeypatch.setattr(sys, "argv", ["duplicates", *few])
    duplicates.main()
    rows = capsys.readouterr().out.splitlines()
    assert sum(row.startswith("| ") for row in rows) == 1 + len(duplicates.KINDS)
    assert "| PNG | 100.0 |" in "\n".join(rows)
