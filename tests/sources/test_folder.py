"""Class folders: what is read, in which order, and what is refused."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import run_chain, tiny_values, write_params
from PIL import Image

from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.params.check import load
from pipeline.sources import digits, folder
from pipeline.sources.images import Images, Wanted
from pipeline.sources.options import Data
from pipeline.sources.prepare import prepare


@pytest.fixture(autouse=True)
def project(tmp_path_factory, monkeypatch):
    """A folder of its own to work in, where what was decoded is kept."""
    monkeypatch.chdir(tmp_path_factory.mktemp("project"))


def write(path, pixels, mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels, mode).save(path, **options)


def read(root, size: int, **changes) -> Images:
    """The images of all classes below `root`, stored at `size`."""
    block = Data.model_validate(data(root, size=size, **changes))
    there = sorted(path.name for path in root.glob("*") if path.is_dir())
    nameless = [name.strip("/") for name in block.unlabelled]
    names = [n for n in there if n not in nameless and not n.startswith(".")]
    return folder.read(block, Wanted(names, frozenset(names)))


@pytest.fixture
def photos(tmp_path, rng):
    """Two classes of 30 images, 12x10, each of its own pixels."""
    for label in ("cat", "dog"):
        for number in range(30):
            pixels = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
            write(tmp_path / "photos" / label / f"{number:02d}.png", pixels)
    return tmp_path / "photos"


def test_images_come_in_the_order_of_their_names(photos):
    results = read(photos, 0)
    assert results.classes == ["cat", "dog"] and set(results.given) == {""}
    assert results.image.shape == (60, 3, 10, 12) and results.image.dtype == np.uint8
    assert results.path[0] == "cat/00.png" and results.path[-1] == "dog/29.png"
    assert results.label.tolist() == [0] * 30 + [1] * 30
    pixels = np.asarray(Image.open(photos / "dog/07.png"))
    assert np.array_equal(results.image[37], pixels.transpose(2, 0, 1))


def test_size_resizes_the_shorter_side_and_keeps_the_middle(tmp_path):
    pixels = np.zeros((20, 40, 3), dtype=np.uint8)
    pixels[:, 10:30] = 200
    write(tmp_path / "a/wide.png", pixels)
    results = read(tmp_path, 10)
    assert results.image.shape == (1, 3, 10, 10) and (results.image[..., 1:-1] == 200).all()


def test_several_sizes_need_a_size(photos):
    write(photos / "cat/other.png", np.zeros((9, 9, 3), dtype=np.uint8))
    with pytest.raises(UserError, match=r"images of 2 sizes \(9x9, 12x10\); fix: set data.size"):
        read(photos, 0)
    assert read(photos, 8).image.shape == (61, 3, 8, 8)


def test_hidden_files_are_left_out(photos):
    (photos / "cat/.DS_Store").write_bytes(b"x")
    (photos / "cat/Thumbs.db").write_bytes(b"x")
    (photos / ".git").mkdir()
    assert len(read(photos, 0).path) == 60


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "CMYK", "1", "P"])
def test_other_modes_become_rgb(tmp_path, mode):
    grey = Image.fromarray(np.full((8, 8), 255, dtype=np.uint8)).convert(mode)
    (tmp_path / "a").mkdir()
    grey.save(tmp_path / "a/x.tiff")
    assert (read(tmp_path, 0).image == 255).all()


def test_images_stand_upright(tmp_path):
    pixels = np.zeros((6, 10, 3), dtype=np.uint8)
    pixels[:, :5] = 255
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to look at it
    (tmp_path / "a").mkdir()
    image.save(tmp_path / "a/x.png", exif=exif)
    results = read(tmp_path, 0).image[0]
    assert (
        results.shape == (3, 10, 6)
        and (results[:, :5] == 255).all()
        and (results[:, 5:] == 0).all()
    )


def test_all_bad_files_are_named_in_one_pass(photos):
    (photos / "cat/empty.jpg").write_bytes(b"")
    (photos / "cat/text.jpg").write_text("no image")
    whole = (photos / "dog/03.png").read_bytes()
    (photos / "dog/03.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (909, 9)).save(photos / "dog/slim.png")
    Image.new("LAB", (12, 10)).save(photos / "dog/tones.tiff")
    with pytest.raises(UserError) as caught:
        read(photos, 0)
    assert [line.split(": ")[1].rsplit("/", 1)[1] for line in caught.value.lines] == [
        "empty.jpg",
        "text.jpg",
        "03.png",
        "slim.png",
        "tones.tiff",
    ]
    assert "is of 909x9 pixels" in caught.value.lines[3]


def test_many_bad_files_are_counted(photos):
    for number in range(25):
        (photos / f"cat/bad{number}.jpg").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        read(photos, 0)
    assert len(caught.value.lines) == 21
    assert "5 more images cannot be read (25 in all)" in caught.value.lines[-1]


@pytest.mark.parametrize("make", [False, True])
def test_nothing_there_is_one_line(tmp_path, make):
    if make:
        (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match="holds no images" if make else "no such folder"):
        read(tmp_path / "photos", 0)


# --- splits that the source brings ------------------------------------------------------------


def data(root, **changes):
    values = tiny_values()["data"] | {"source": "folder", "root": str(root), "size": 8}
    values |= {"classes": ["cat", "dog"], "labels_per_class": 4, "val": 0.3, "test": 0.2}
    return values | changes


def prepared(tmp_path, monkeypatch, values) -> store.Dataset:
    monkeypatch.chdir(tmp_path)
    params = tiny_values() | {"data": values, "tasks": {}, "final": "g2"}
    block = load(write_params(tmp_path, params)).data
    return prepare(block, "base", block.classes, block.labels_per_class)


def test_test_images_of_the_source_stay_test(tmp_path, photos, monkeypatch, rng):
    photos.rename(tmp_path / "moved")
    photos.mkdir()
    (tmp_path / "moved").rename(photos / "train")
    for number in range(5):
        pixels = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
        write(photos / "test/cat" / f"{number}.png", pixels)
    copied = (photos / "train/cat/00.png").read_bytes()
    (photos / "test/cat/copy.png").write_bytes(copied)
    (photos / "train/cat/again.png").write_bytes(copied)
    with pytest.raises(UserError, match="among the training images: train/cat"):
        prepared(tmp_path, monkeypatch, data(photos, test=0.0))
    values = data(photos, test=0.0, on_duplicate="remove")
    results = prepared(tmp_path, monkeypatch, values)
    counts = results.card["counts"]
    assert counts["test"] == {"cat": 6, "dog": 0} and results.card["copies_left_out"] == 2
    assert counts["labelled"] == {"cat": 4, "dog": 4} and sum(counts["val"].values()) > 5
    index = (results.folder / "index.csv").read_text()
    assert "test/cat/copy.png,test" in index and "train/cat/00.png" not in index


def test_val_and_test_come_from_one_place_each(tmp_path, photos, monkeypatch):
    assert prepared(tmp_path, monkeypatch, data(photos, test=0.0)).num("test") == 0
    (photos / "train").mkdir()
    for name in ("cat", "dog"):
        (photos / name).rename(photos / "train" / name)
    (photos / "val").mkdir()
    (photos / "train/cat/00.png").rename(photos / "val/00.png")
    write(photos / "val/cat/x.png", np.zeros((10, 12, 3), dtype=np.uint8))
    with pytest.raises(UserError, match=r"data.val: 0.3, but the source brings its own val images"):
        prepared(tmp_path, monkeypatch, data(photos))
    results = prepared(tmp_path, monkeypatch, data(photos, val=0.0))
    assert results.card["counts"]["val"] == {"cat": 1, "dog": 0}


def test_an_empty_class_folder_is_a_class_without_images(tmp_path, photos, monkeypatch):
    (photos / "cow").mkdir()
    with pytest.raises(UserError, match="class 'cow' has 0 training images, 4 are asked for"):
        prepared(tmp_path, monkeypatch, data(photos, classes=["cat", "dog", "cow"]))


def test_the_digits_are_of_one_size(tiny):
    (fault,) = digits.faults(tiny.data.model_copy(update={"size": 16}))
    assert (fault.key, fault.what) == ("size", "the digits are 8x8, not 16")
    assert not list(digits.faults(tiny.data))


# --- images without labels --------------------------------------------------------------------


@pytest.fixture
def crowd(photos, rng):
    """Besides, 12 images without a label in two folders, one of them nested, and a copy."""
    for number in range(12):
        pixels = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
        folder = photos / ("flat" if number < 5 else f"nested/{number % 2}/deep")
        write(folder / f"{number:02d}.png", pixels)
    (photos / "flat/copy.png").write_bytes((photos / "cat/00.png").read_bytes())
    return photos


def test_folders_without_labels_are_read_however_they_are_nested(crowd):
    results = read(crowd, 0, unlabelled=["nested/", "flat"])
    assert results.classes == ["cat", "dog"]
    nameless = [p for p, label in zip(results.path, results.label) if label < 0]
    assert nameless[:3] == ["nested/0/deep/06.png", "nested/0/deep/08.png", "nested/0/deep/10.png"]
    assert nameless[-2:] == ["flat/04.png", "flat/copy.png"] and len(nameless) == 13
    row = results.path.index("nested/1/deep/07.png")
    pixels = np.asarray(Image.open(crowd / "nested/1/deep/07.png"))
    assert np.array_equal(results.image[results.row[row]], pixels.transpose(2, 0, 1))


def test_images_without_labels_are_unlabelled_and_nobody_knows_the_truth(
    tmp_path, crowd, monkeypatch
):
    values = data(crowd, unlabelled=["nested", "flat"], labels_per_class="all")
    results = prepared(tmp_path, monkeypatch, values)
    assert results.num("unlabelled") == results.card["without_label"] == 12
    assert set(results.truth().tolist()) == {-1} and results.card["copies_left_out"] == 1
    assert {Path(path).parts[0] for path in results.paths("unlabelled")} == {"nested", "flat"}
    labelled = sum(sum(results.card["counts"][name].values()) for name in store.SPLITS)
    assert labelled == 60, "the copy among the unlabelled images went, not the labelled one"
    some = prepared(tmp_path, monkeypatch, values | {"labels_per_class": 4})
    assert some.num("labelled") == 8 and some.card["without_label"] == 12
    assert some.num("unlabelled") == 12 + results.num("labelled") - 8


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("flt", "data.unlabelled: .* has no folder 'flt'; fix: did you mean 'flat'?"),
        ("empty", "data.unlabelled: the folder 'empty' of .* holds no images"),
    ],
)
def test_a_folder_without_labels_must_be_there_and_hold_images(crowd, name, line):
    (crowd / "empty").mkdir()
    with pytest.raises(UserError, match=line):
        read(crowd, 0, unlabelled=[name])


@pytest.mark.parametrize("name", ["../others", "/tmp", ".", "a/../../b"])
def test_a_folder_without_labels_lies_below_the_root(photos, name):
    (fault,) = Data.model_validate(data(photos, unlabelled=[name])).faults()
    assert fault.key == "unlabelled" and fault.what == f"'{name}' is not a folder below data.root"


def test_what_a_source_does_not_use_is_refused(tiny):
    block = tiny.data.model_copy(update={"unlabelled": ["a"]})
    object.__setattr__(block, "__pydantic_fields_set__", {"unlabelled"})
    assert [fault.key for fault in block.faults()] == ["unlabelled"]


# --- what is left out -------------------------------------------------------------------------


def test_what_is_left_out_is_counted_by_kind(crowd):
    (crowd / "readme.txt").write_text("hello")
    (crowd / "cat/.DS_Store").write_bytes(b"x")
    (crowd / "__MACOSX").mkdir()
    block = Data.model_validate(data(crowd, unlabelled=["flat"]))
    found = folder.look(block, Wanted(["cat"], frozenset(["cat", "dog"])))
    assert found.training == {"cat": 30, "dog": 0, "nested": 0} and found.unlabelled == 6
    assert found.ignored == {
        "hidden files and folders": 2,
        "folders of classes that params do not name": 1,
        "files outside the classes' folders": 1,
    }


def test_val_images_of_another_class_are_brought_and_loose_files_counted_on_both_levels(photos):
    (photos / "train").mkdir()
    for name in ("cat", "dog"):
        (photos / name).rename(photos / "train" / name)
    (photos / "val/dog").mkdir(parents=True)
    (photos / "train/dog/00.png").rename(photos / "val/dog/00.png")
    for place in ("", "train", "val"):
        (photos / place / "loose.png").touch()
    found = folder.look(Data.model_validate(data(photos)), Wanted(["cat"], frozenset(["cat"])))
    assert found.held == {"val": {}} and found.training["cat"] == 30
    assert found.ignored[folder.LOOSE] == 3 and found.ignored[folder.OTHER_CLASSES] == 1


def test_folders_within_the_folder_of_a_class_are_read(photos):
    (photos / "cat/2019/may").mkdir(parents=True)
    (photos / "cat/07.png").rename(photos / "cat/2019/may/07.png")
    results = read(photos, 0)
    assert len(results.path) == 60 and "cat/2019/may/07.png" in results.path


def test_links_out_of_the_root_and_to_folders_are_all_refused(tmp_path, photos):
    write(tmp_path / "secret.png", np.zeros((10, 12, 3), dtype=np.uint8))
    (photos / "cat/inside.png").symlink_to(photos / "dog/00.png")
    (photos / "cat/out.png").symlink_to(tmp_path / "secret.png")
    (photos / "dog/up").symlink_to(tmp_path)
    (photos / "dog/around").symlink_to(photos)
    with pytest.raises(UserError) as caught:
        read(photos, 0)
    assert [re.search(r"/(\w+/[\w.]+): (.*);", line).groups() for line in caught.value.lines] == [
        ("cat/out.png", f"is a link out of {photos}"),
        ("dog/around", "is a link to a folder"),
        ("dog/up", f"is a link out of {photos}"),
    ]
    with pytest.raises(UserError) as caught:
        folder.look(Data.model_validate(data(photos)), Wanted(["cat"], frozenset(["cat"])))
    assert len(caught.value.lines) == 1, "of classes that are not wanted nothing is looked at"


def test_a_name_that_is_not_utf_8_is_refused(photos):
    (photos / "cat" / os.fsdecode(b"caf\xe9.png")).write_bytes((photos / "cat/00.png").read_bytes())
    with pytest.raises(UserError, match=r"cat/caf\\xe9.png: its name is not UTF-8"):
        read(photos, 0)


def test_bad_files_are_left_out_where_that_is_asked_for(photos):
    (photos / "cat/00.png").write_bytes(b"")
    (photos / "dog/text.jpg").write_text("no image")
    results = read(photos, 0, on_bad_image="skip")
    assert list(results.notes.skipped) == ["cat/00.png", "dog/text.jpg"]
    assert len(results.path) == 59 and "cat/00.png" not in results.path
    pixels = np.asarray(Image.open(photos / "dog/07.png"))
    row = results.row[results.path.index("dog/07.png")]
    assert np.array_equal(results.image[row], pixels.transpose(2, 0, 1))
    for path in photos.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="none of its 61 images can be read"):
        read(photos, 0, on_bad_image="skip")


def test_a_folder_of_images_goes_through_the_whole_chain(tmp_path, photos, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = tiny_values() | {"data": data(photos, labels_per_class=2), "tasks": {}, "final": "g1"}
    del values["generations"]["g2"]
    write_params(tmp_path, values)
    run_chain()
    assert (tmp_path / "report/html/index.html").is_file()
