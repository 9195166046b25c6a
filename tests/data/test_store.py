"""The prepared data set: arrays come back as they went in, and not one bit otherwise."""

import csv
import os

import numpy as np
import pytest
from conftest import flipped, same_files

from pipeline.core.errors import UserError
from pipeline.data import store

CLASSES = ["cat", "dog"]


@pytest.fixture
def arrays(rng):
    images = rng.integers(0, 256, (20, 2, 3, 4), dtype=np.uint8)
    split = np.array(["labelled", "unlabelled", "val", "test"] * 5)
    return images, np.arange(20) % 3 % 2, split


@pytest.fixture
def dataset(tmp_path, arrays):
    images, labels, split = arrays
    names = [f"{i}.png" for i in range(20)]
    hashes = [f"{i:064x}" for i in range(20)]
    return store.save(
        tmp_path / "d", images, labels, split, classes=CLASSES, path=names, sha256=hashes
    )


def test_arrays_come_back_as_they_went_in(dataset, arrays):
    images, labels, split = arrays
    read = store.load(dataset.folder)
    for name in store.SPLITS:
        assert np.array_equal(read.array(name), images[split == name])
        known = "truth" if name == "unlabelled" else "label"
        assert np.array_equal(read.array(name, known), labels[split == name])
    assert read.card == dataset.card
    assert (read.classes, read.image_shape) == (CLASSES, (2, 3, 4))


@pytest.mark.parametrize("piece", [1, 100, 1 << 18])
def test_files_are_those_of_numpy_whatever_the_piece_and_wherever_images_stand(
    tmp_path, arrays, monkeypatch, rng, piece
):
    images, labels, split = arrays
    monkeypatch.setattr(store, "PIECE", piece)
    rows = rng.permutation(30)[:20]
    among = np.zeros((30, *images.shape[1:]), dtype=np.uint8)
    among[rows] = images
    texts = {"classes": CLASSES, "path": [""] * 20, "sha256": [""] * 20}
    store.save(tmp_path / "one", among, labels, split, rows=rows, **texts)
    for name in store.SPLITS:
        np.save(tmp_path / "image.npy", images[split == name])
        written = (tmp_path / "one" / name / "image.npy").read_bytes()
        assert written == (tmp_path / "image.npy").read_bytes()
    monkeypatch.undo()
    store.save(tmp_path / "two", images, labels, split, **texts)
    same_files(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize("num", range(9))
def test_what_was_not_written_to_its_end_is_no_data_set(tmp_path, arrays, monkeypatch, num):
    """Of nine files before the card, ended within any."""
    images, labels, split = arrays
    calls = iter(range(100))

    def ended(_):
        if next(calls) == 2 * num:  # a file, then its folder
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", ended)
    with pytest.raises(KeyboardInterrupt):
        store.save(
            tmp_path / "d", images, labels, split, classes=CLASSES, path=[""] * 20, sha256=[""] * 20
        )
    files = [path for path in (tmp_path / "d").rglob("*") if path.is_file()]
    assert len(files) == num and all(path.suffix in (".npy", ".csv") for path in files)
    with pytest.raises(UserError, match="no such file"):
        store.load(tmp_path / "d")


def test_images_are_counted_without_reading_them(dataset):
    for name in store.SPLITS:
        (dataset.folder / name / "image.npy").unlink()
        assert dataset.num(name) == 5


def test_arrays_are_mapped_and_read_only(dataset):
    array = dataset.array("val")
    assert isinstance(array, np.memmap) and array.dtype == np.uint8
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


def test_unlabelled_images_have_no_label_but_a_truth(dataset):
    with pytest.raises(UserError, match="no such array"):
        dataset.array("unlabelled", "label")
    assert len(dataset.array("unlabelled", "truth")) == 5


def test_the_card_counts_every_image(dataset, arrays):
    _, labels, split = arrays
    for name in store.SPLITS:
        of_split = labels[split == name].tolist()
        assert dataset.card["counts"][name] == {
            "cat": of_split.count(0),
            "dog": of_split.count(1),
        }


def test_an_image_may_have_no_label_but_only_among_the_unlabelled(tmp_path, arrays):
    images, labels, split = arrays
    labels = np.where(np.arange(20) % 8 == 1, -1, labels)  # rows 1, 9, 17: unlabelled
    texts = {"classes": CLASSES, "path": [f"{i}" for i in range(20)], "sha256": [""] * 20}
    dataset = store.save(tmp_path / "u", images, labels, split, **texts)
    known = labels[split == "unlabelled"]
    assert dataset.truth().tolist() == known.tolist() and (known == -1).sum() == 3
    assert dataset.card["without_label"] == 3
    assert sum(dataset.card["counts"]["unlabelled"].values()) == 2
    assert dataset.num("unlabelled") == 5 and dataset.num("val") == 5


def test_paths_are_in_the_order_of_the_arrays(dataset, arrays):
    for name in store.SPLITS:
        rows = np.flatnonzero(arrays[2] == name)
        assert dataset.paths(name) == [f"{row}.png" for row in rows]
    path = dataset.folder / "index.csv"
    path.write_text(path.read_text().replace("7.png", "9.png", 1))
    with pytest.raises(UserError, match="index.csv: sha256 differs"):
        dataset.paths("val")


def test_normalisation_is_that_of_the_training_images(dataset, arrays):
    images, _, split = arrays
    training = images[np.isin(split, ["labelled", "unlabelled"])] / 255
    results = dataset.card["normalisation"]
    assert results["mean"] == pytest.approx(training.mean((0, 2, 3)), abs=1e-6)
    assert results["std"] == pytest.approx(training.std((0, 2, 3)), abs=1e-6)


def test_the_index_lists_every_image(dataset, arrays):
    with open(dataset.folder / "index.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["split"] for row in rows] == arrays[2].tolist()
    assert rows[7] == {"id": "7", "path": "7.png", "split": "test", "sha256": f"{7:064x}"}


def test_any_flipped_byte_of_an_array_is_refused(dataset):
    for key in dataset.card["sha256"]:
        path = dataset.folder / key
        split, name = key.removesuffix(".npy").split("/")
        for _ in flipped(path, range(0, path.stat().st_size, 7)):
            with pytest.raises(UserError, match="sha256 differs"):
                dataset.array(split, name)
        dataset.array(split, name)


@pytest.mark.parametrize(("mask", "start"), [(0x01, 0), (0x04, 1), (0xFF, 2)])
def test_any_flipped_byte_of_the_card_is_refused(dataset, mask, start):
    path = dataset.folder / "dataset.json"
    for _ in flipped(path, range(start, path.stat().st_size, 5), mask):
        with pytest.raises(UserError):
            store.load(dataset.folder)
    store.load(dataset.folder)


@pytest.mark.parametrize("size", [0, 40, 150])
def test_a_cut_array_is_refused(dataset, size):
    path = dataset.folder / "val/image.npy"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match="sha256 differs"):
        dataset.array("val")


def test_a_missing_array_or_data_set_is_refused(dataset, tmp_path):
    (dataset.folder / "val/image.npy").unlink()
    with pytest.raises(UserError, match="no such file"):
        dataset.array("val")
    with pytest.raises(UserError, match="no such file"):
        store.load(tmp_path / "nowhere")


def test_an_empty_split_reads_as_no_images(tmp_path, arrays):
    images, labels, _ = arrays
    split = np.array(["labelled"] * 20)
    dataset = store.save(
        tmp_path / "e",
        images,
        labels,
        split,
        classes=CLASSES,
        path=[""] * 20,
        sha256=[""] * 20,
    )
    assert dataset.array("unlabelled").shape == (0, 2, 3, 4)
    assert dataset.array("test", "label").shape == (0,)
