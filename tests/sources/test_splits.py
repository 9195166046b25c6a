"""Splits are a function of content and seed: disjoint, stable, even over classes."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import UserError
from pipeline.data.store import SPLITS
from pipeline.sources import SOURCES
from pipeline.sources.splits import _lowest, first_copies, split

CLASSES = ["a", "b", "c"]


def content(num: int, prefix: str = "image") -> list[str]:
    return [hashlib.sha256(f"{prefix} {i}".encode()).hexdigest() for i in range(num)]


def made(sha256, label, **changed) -> dict[str, str]:
    """The split of each image, by its content."""
    rule = {"labels_per_class": 4, "val": 0.15, "test": 0.25, "seed": 0} | changed
    return dict(zip(sha256, split(sha256, label, CLASSES, **rule).tolist()))


@pytest.fixture
def images():
    return content(3000), np.arange(3000) % 3


def test_every_image_is_in_one_split_with_exact_labels_in_each_class(images):
    sha256, label = images
    results = made(sha256, label)
    assert len(results) == 3000 and set(results.values()) == set(SPLITS)
    labelled = [int(c) for h, c in zip(sha256, label) if results[h] == "labelled"]
    assert sorted(labelled) == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize(("name", "share"), [("val", 0.15), ("test", 0.25)])
def test_shares_are_met_in_every_class_within_four_standard_errors(images, name, share):
    sha256, label = images
    results = np.array(list(made(sha256, label).values()))
    for c in range(3):
        error = (share * (1 - share) / 1000) ** 0.5
        assert abs(np.mean(results[label == c] == name) - share) < 4 * error


def test_the_order_of_images_does_not_matter(images, rng):
    sha256, label = images
    order = rng.permutation(3000)
    assert made([sha256[i] for i in order], label[order]) == made(sha256, label)


def test_more_images_move_no_old_one_between_training_val_and_test(images):
    sha256, label = images
    before = made(sha256[:500], label[:500])
    after = made(sha256, label)
    held = {"val", "test"}
    for h, old in before.items():
        assert after[h] == old if old in held else after[h] not in held


def test_the_labelled_images_of_a_class_do_not_depend_on_other_classes(images):
    sha256, label = images
    kept = [i for i in range(3000) if label[i] == 0 or i < 300]
    alone = made([sha256[i] for i in kept], label[kept])
    results = made(sha256, label)
    assert all(results[sha256[i]] == alone[sha256[i]] for i in kept if label[i] == 0)


def test_another_seed_makes_other_splits(images):
    one, other = made(*images), made(*images, seed=1)
    for name in SPLITS:
        assert {h for h in one if one[h] == name} != {h for h in other if other[h] == name}


def test_more_labels_contain_the_fewer(images):
    def labelled(number):
        results = made(*images, labels_per_class=number)
        return {h for h in results if results[h] == "labelled"}

    assert labelled(4) < labelled(10)


@pytest.mark.parametrize("num_classes", [1, 40])
def test_the_labelled_are_those_that_a_loop_over_the_classes_finds(rng, num_classes):
    order, label = rng.integers(0, 50, 2000) / 50, rng.integers(0, num_classes, 2000)
    order[label == 7] = 0.5  # of equals the earlier
    wanted = []
    for c in range(num_classes):
        rows = np.flatnonzero(label == c)
        wanted += rows[np.argsort(order[rows], kind="stable")][:5].tolist()
    assert _lowest(order, label, 5).tolist() == wanted


def test_a_class_with_too_few_images_is_named(images):
    sha256, label = images
    with pytest.raises(UserError, match="class 'c' has 0 training images, 4 are asked for"):
        made(sha256, label % 2)


def test_copies_are_left_out_and_the_first_stays():
    sha256 = ["x", "y", "x", "z", "y"]
    kept = first_copies(sha256, np.array([0, 1, 0, 2, 1]), list("abcde"))
    assert kept.tolist() == [0, 1, 3]


def test_copies_with_different_labels_are_all_named():
    with pytest.raises(UserError) as caught:
        first_copies(["x", "x", "y", "y"], np.array([0, 1, 0, 2]), list("abcd"))
    assert [line.split(":")[1] for line in caught.value.lines] == [" b", " d"]


def test_the_digits_of_some_classes_are_labelled_by_position(tiny):
    images = SOURCES["digits"].read(tiny.data, Path("unused"))
    some = images.of(["7", "2"])
    assert some.classes == ["7", "2"]
    assert np.array_equal(some.row[some.label == 0], np.flatnonzero(images.label == 7))
    assert np.array_equal(some.row[some.label == 1], np.flatnonzero(images.label == 2))
    assert [images.path[row] for row in some.row] == some.path
    assert [images.sha256[row] for row in some.row] == some.sha256
    assert len(set(images.sha256)) == len(images.image) == 1797
    assert (images.image.min(), images.image.max(), images.image.shape[1:]) == (0, 255, (1, 8, 8))


def test_an_unknown_class_is_refused_by_name(tiny):
    with pytest.raises(UserError, match="no class is called '12'"):
        SOURCES["digits"].read(tiny.data, Path("unused")).of(["1", "12"])


@pytest.mark.parametrize("name", ["val", "test"])
def test_a_split_without_an_image_is_refused(name):
    sha256 = content(12)
    with pytest.raises(
        UserError, match=f"data.{name}: of 12 images of a, b, c none falls into {name}"
    ):
        made(sha256, np.arange(12) % 3, **{name: 1e-6}, labels_per_class=1)
