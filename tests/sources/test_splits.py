"""Splits are a function of content and seed: disjoint, stable, even over classes."""

import hashlib

import numpy as np
import pytest

from pipeline.core.errors import UserError
from pipeline.data.store import SPLITS
from pipeline.sources import SOURCES
from pipeline.sources.copies import without_copies
from pipeline.sources.images import Images, Wanted
from pipeline.sources.splits import Rule, _lowest, split

CLASSES = ["a", "b", "c"]


def content(num: int, prefix: str = "image") -> list[str]:
    return [hashlib.sha256(f"{prefix} {i}".encode()).hexdigest() for i in range(num)]


def images_of(sha256, label, given=None, brings=()) -> Images:
    """Images without pixels."""
    given = None if given is None else np.array(given)
    paths = [f"{number}.png" for number in range(len(sha256))]
    row = np.arange(len(sha256))
    none = np.empty(0)
    return Images(none, row, np.array(label), CLASSES, paths, sha256, given, frozenset(brings))


def made(sha256, label, given=None, brings=(), **changed) -> dict[str, str]:
    """The split of each image, by its content."""
    rule = Rule(**{"labels_per_class": 4, "val": 0.15, "test": 0.25, "seed": 0} | changed)
    return dict(zip(sha256, split(images_of(sha256, label, given, brings), rule).tolist()))


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


def test_the_digits_of_some_classes_are_labelled_by_position(tiny):
    names = Wanted(["7", "2"], frozenset("72"))
    images = SOURCES["digits"].read(tiny.data, names)
    some = images.of(names)
    assert some.classes == ["7", "2"]
    assert np.array_equal(some.row[some.label == 0], np.flatnonzero(images.label == 7))
    assert np.array_equal(some.row[some.label == 1], np.flatnonzero(images.label == 2))
    assert [images.path[row] for row in some.row] == some.path
    assert [images.sha256[row] for row in some.row] == some.sha256
    assert len(set(images.sha256)) == len(images.image) == 1797
    assert (images.image.min(), images.image.max(), images.image.shape[1:]) == (0, 255, (1, 8, 8))


def test_an_unknown_class_is_refused_by_name(tiny):
    with pytest.raises(UserError, match="no class is called '12'"):
        names = Wanted(["1", "12"], frozenset(["1", "12"]))
        SOURCES["digits"].read(tiny.data, names).of(names)


@pytest.mark.parametrize("name", ["val", "test"])
def test_a_split_without_an_image_is_refused(name):
    """A class of one image keeps it to learn from."""
    with pytest.raises(
        UserError, match=f"data.{name}: of 3 images of a, b, c none falls into {name}"
    ):
        made(
            content(3), np.arange(3), **{"val": 1e-6, "test": 1e-6, name: 2e-6}, labels_per_class=1
        )
    with pytest.raises(UserError, match=f"data.{name}: .* none falls into {name}; fix: add images"):
        shares = {"val": 0.5, "test": 0.0} | {name: 0.0}  # the source has some of other classes
        made(content(9), np.arange(9) % 3, ["train"] * 9, {name}, labels_per_class=1, **shares)


@pytest.mark.parametrize(("name", "fold"), [("val", 0), ("test", 0), ("val", 500_000)])
def test_a_class_whose_numbers_leave_none_gives_the_one_that_comes_next(name, fold):
    shares = {"val": 0.0, "test": 0.0} | {name: 1e-6}
    brings = {"val", "test"} - {name}
    sha256 = content(31)
    given = ["train"] * 30 + ["val" if name == "test" else "test"]
    label = np.arange(31) % 3
    results = made(sha256, label, given, brings, labels_per_class=1, fold=fold, **shares)
    assert [h for h in sha256[:30] if results[h] == name] == [
        h for c, h in enumerate(sha256[:30]) if h == following(sha256[c % 3 : 30 : 3], 1e-6 * fold)
    ]


def uniform(purpose: str, content: str) -> float:
    """The number of an image for seed 0."""
    word = hashlib.sha256(f"0/{purpose}/{content}".encode()).digest()
    return (int.from_bytes(word[:8], "little") >> 11) / 2**53


def following(sha256: list[str], start: float) -> str:
    """The image whose number is the first from `start` on, and after the last again the lowest."""
    return min(sha256, key=lambda h: (uniform("split", h) < start, uniform("split", h)))


def test_numbers_of_their_own_say_which_images_are_held_and_which_are_labelled(images):
    """So no class gives an image to a split where its numbers have some."""
    sha256, label = images
    results = made(sha256, label)
    for h, where in results.items():
        assert (where == "test") == (uniform("split", h) < 0.25)
        assert (where == "val") == (0.25 <= uniform("split", h) < 0.4)
    for c in range(3):
        training = [h for h in sha256[c::3] if results[h] in ("labelled", "unlabelled")]
        lowest = sorted(training, key=lambda h: uniform("labelled", h))[:4]
        assert {h for h in training if results[h] == "labelled"} == set(lowest)


# --- images without a label -------------------------------------------------------------------


def test_images_without_a_label_are_unlabelled_and_leave_the_others_where_they_were(images):
    sha256, label = images
    mixed = np.where(np.arange(3000) % 5 == 0, -1, label)
    results = made(sha256, mixed)
    alone = made([h for h, c in zip(sha256, mixed) if c >= 0], mixed[mixed >= 0])
    assert {results[h] for h, c in zip(sha256, mixed) if c < 0} == {"unlabelled"}
    assert {h: results[h] for h in alone} == alone


def test_all_labels_are_used_where_all_are_asked_for(images):
    sha256, label = images
    mixed = np.where(np.arange(3000) % 5 == 0, -1, label)
    results = made(sha256, mixed, labels_per_class="all")
    assert {h for h in sha256 if results[h] == "unlabelled"} == {
        h for h, c in zip(sha256, mixed) if c < 0
    }


def test_a_class_without_a_label_is_named_with_all_the_others():
    with pytest.raises(UserError) as caught:
        made(content(20), np.array([0] * 20), labels_per_class="all")
    assert ["'b' has 0" in line or "'c' has 0" in line for line in caught.value.lines] == [True] * 2


# --- val and test -----------------------------------------------------------------------------


def test_the_folds_take_every_image_to_val_once(images):
    def held(name, fold):
        parts = made(*images, val=0.25, test=0.2, fold=fold)
        return {content for content, where in parts.items() if where == name}

    val = [held("val", fold) for fold in range(3)]
    assert len(val[0] | val[1] | val[2]) == sum(map(len, val))
    assert all(held("test", fold) == held("test", 0) for fold in range(3))
    never = set(images[0]) - held("test", 0) - (val[0] | val[1] | val[2])
    assert len(never) / 3000 == pytest.approx(0.05, abs=0.02)


def test_there_may_be_no_test_images_but_there_are_val_images(images):
    sha256, label = images
    assert set(made(sha256, label, test=0.0).values()) == {"labelled", "unlabelled", "val"}
    with pytest.raises(UserError, match="data.val: 0, .*whether a student may ship"):
        made(sha256, label, val=0.0)


@pytest.mark.parametrize("name", ["val", "test"])
def test_what_the_source_brings_stays_and_is_not_shared_out_again(images, name):
    sha256, label = images
    given = np.where(np.arange(3000) % 10 == 0, name, "train")
    with pytest.raises(UserError, match=f"data.{name}: 0.*, but the source brings its own {name}"):
        made(sha256, label, given, {name})
    shares = {"val": 0.15, "test": 0.25} | {name: 0.0}
    results = made(sha256, label, given, {name}, **shares)
    assert {h for h in sha256 if results[h] == name} == set(sha256[::10])


# --- copies -----------------------------------------------------------------------------------


def copies(sha256, label, given=None, remove=False):
    return without_copies(images_of(list(sha256), label, given), remove)


def test_copies_are_left_out_and_the_first_stays():
    made = copies("xyxzy", [0, 1, 0, 2, 1])
    assert made.kept.tolist() == [0, 1, 3]
    assert made.left_out == {("labelled", "labelled"): 2}


def test_copies_with_different_labels_are_all_named():
    with pytest.raises(UserError) as caught:
        copies("xxyy", [0, 1, 0, 2])
    assert [line.split(":")[1] for line in caught.value.lines] == [" 1.png", " 3.png"]
    with pytest.raises(UserError) as caught:
        copies("xxyy", [0, 1, 2, 2], ["train", "train", "train", "test"])
    assert [line.split(":")[1] for line in caught.value.lines] == [" 1.png", " data"]


def test_a_copy_without_a_label_goes_wherever_it_stands():
    made = copies("xxyyz", [-1, 0, 1, -1, -1])
    assert made.kept.tolist() == [1, 2, 4] and made.left_out == {("unlabelled", "labelled"): 2}


def test_training_images_that_are_test_images_are_refused_by_number_or_removed():
    given = ["train"] * 5 + ["test"] * 5 + ["val"]
    names, label = "abcdeabcdfe", [0] * 11
    assert copies("gabh", [0] * 4, ["train", "test", "val", "train"]).kept.tolist() == [0, 1, 2, 3]
    with pytest.raises(UserError) as caught:
        copies(names, label, given)
    test, val = caught.value.lines
    assert "4 test images among the training images: 0.png = 5.png" in test
    assert "1 val image among" in val and "on_duplicate: remove" in val
    made = copies(names, label, given, remove=True)
    assert made.kept.tolist() == [5, 6, 7, 8, 9, 10]
    assert made.left_out == {("labelled", "test"): 4, ("labelled", "val"): 1}


def test_an_unlabelled_copy_of_a_test_image_is_removed_and_counted():
    made = copies("abab", [-1, -1, 0, 1], ["", "", "test", "val"])
    assert made.kept.tolist() == [2, 3]
    assert made.left_out == {("unlabelled", "test"): 1, ("unlabelled", "val"): 1}
