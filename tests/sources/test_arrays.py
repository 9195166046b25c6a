"""Images that are arrays: forms, labels, splits, and what is refused."""

import io
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_values, write_params
from PIL import Image, ImageOps

from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.params.check import load
from pipeline.sources import arrays, npy
from pipeline.sources.decoder import identity
from pipeline.sources.images import Images, Wanted
from pipeline.sources.options import Data
from pipeline.sources.prepare import prepare

CLASSES = ["cat", "dog"]
NAMES = ["cat", "dog", "", "cow", "dog", "cat"]


@pytest.fixture
def pixels(rng) -> np.ndarray:
    """Six images of 3 channels, 7 high and 9 wide."""
    return rng.integers(0, 256, (6, 3, 7, 9), dtype=np.uint8)


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(kind: str = "npz", **named) -> Path:
    if kind == "npz":
        np.savez("made.npz", **named)
        return Path("made.npz")
    Path("made").mkdir()
    for name, values in named.items():
        np.save(f"made/{name}.npy", values)
    return Path("made")


def block(root, **changes) -> Data:
    values = {"source": "arrays", "root": str(root), "classes": CLASSES, "labels_per_class": "all"}
    return Data.model_validate(values | {"val": 0.2, "test": 0, "seed": 0} | changes)


def wanted(*names: str) -> Wanted:
    return Wanted(list(names or CLASSES), frozenset(names or CLASSES))


def read(root, *names: str, **changes) -> Images:
    return arrays.read(block(root, **changes), wanted(*names))


def labels_of(images: Images) -> list[str]:
    return [images.classes[label] if label >= 0 else "" for label in images.label]


def lines(root, *names: str) -> list[str]:
    """What is wrong, said by `look` and by `read` alike."""
    said = []
    for ask in (arrays.look, arrays.read):
        with pytest.raises(UserError) as caught:
            ask(block(root), wanted(*names))
        said.append(caught.value.lines)
    assert said[0] == said[1]
    return [line.removeprefix("error: ") for line in said[0]]


# --- pixels -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["npz", "folder"])
@pytest.mark.parametrize("piece", [1, 2 * 3 * 7 * 9, 2**20])
@pytest.mark.parametrize("last", [False, True])
def test_channels_may_be_second_or_last(pixels, kind, piece, last, monkeypatch):
    monkeypatch.setattr(npy, "PIECE", piece)
    given = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)) if last else pixels
    images = read(write(kind, image=given, label=NAMES))
    assert np.array_equal(images.image[images.row], pixels)
    assert images.sha256 == [identity(one.tobytes(), (3, 7, 9)) for one in pixels]
    assert images.path[4] == ("made.npz[4]" if kind == "npz" else "made[4]")


@pytest.mark.parametrize("form", ["N", "1HW", "HW1"])
def test_grey_images_stay_of_one_channel(pixels, form):
    grey = pixels[:, 0]
    given = {"N": grey, "1HW": grey[:, None], "HW1": grey[..., None]}[form]
    images = read(write(image=given, label=NAMES))
    assert np.array_equal(images.image, grey[:, None])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_size_resizes_as_it_does_photos(pixels, channels):
    images = read(write(image=pixels[:, :channels], label=NAMES), size=4)
    assert images.image.shape == (6, channels, 4, 4)
    for one, made in zip(pixels, images.image):
        photo = Image.fromarray(one[0] if channels == 1 else one.transpose(1, 2, 0))
        fit = np.asarray(ImageOps.fit(photo, (4, 4), Image.Resampling.BILINEAR))
        assert np.array_equal(made if channels == 3 else made[0], fit.T.swapaxes(-1, -2))


# --- labels -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["U", "S"])
def test_texts_are_labels(pixels, dtype):
    images = read(write(image=pixels, label=np.array(NAMES, dtype)))
    assert labels_of(images) == NAMES and images.classes == ["cat", "cow", "dog"]
    assert images.notes.ignored == {"images of classes that params do not name": 1}


@pytest.mark.parametrize("dtype", [np.int8, np.int64, ">i4"])
def test_numbers_are_labels_with_or_without_names(pixels, dtype):
    label = np.array([10, 2, -1, 2, 10, 2], dtype)
    images = read(write(image=pixels, label=label), "2", "10")
    assert labels_of(images) == ["10", "2", "", "2", "10", "2"] and images.classes == ["2", "10"]
    label[label == 10] = 1
    images = read(write(image=pixels, label=label, classes=["a", "cat", "dog"]))
    assert labels_of(images) == ["cat", "dog", "", "dog", "cat", "dog"]
    assert images.classes == ["a", "cat", "dog"]


def test_splits_are_those_of_the_arrays(pixels):
    root = write(image=pixels, label=NAMES, split=["", "test", "train", "val", "test", ""])
    images = read(root)
    assert images.given.tolist() == ["", "test", "train", "val", "test", ""]
    assert images.brings == {"val", "test"}
    found = arrays.look(block(root), wanted())
    assert found.training == {"cat": 2, "cow": 0, "dog": 0} and found.unlabelled == 1
    assert found.held == {
        "val": {"cat": 0, "cow": 1, "dog": 0},
        "test": {"cat": 0, "cow": 0, "dog": 2},
    }


def test_arrays_become_a_data_set(tmp_path, rng):
    image = rng.integers(0, 256, (60, 8, 8), dtype=np.uint8)
    label = np.arange(60) % 3 - 1
    np.savez("made.npz", image=image, label=label, classes=CLASSES)
    values = tiny_values() | {"tasks": {}, "final": "g2"}
    values["data"] |= {"source": "arrays", "root": "made.npz", "classes": ["dog", "cat"]}
    values["data"] |= {"labels_per_class": 4, "val": 0.3, "test": 0.2}
    data = load(write_params(tmp_path, values)).data
    made = prepare(data, "base", data.classes, data.labels_per_class)
    assert made.image_shape == (1, 8, 8) and made.card["without_label"] == 20
    for split in store.SPLITS:
        rows = [int(path[9:-1]) for path in made.paths(split)]
        assert np.array_equal(made.array(split)[:, 0], image[rows])
        truth = made.truth() if split == "unlabelled" else made.array(split, "label")
        assert truth.tolist() == [{-1: -1, 0: 1, 1: 0}[label[row]] for row in rows]


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": np.zeros((6, 3, 7, 9), np.float32)}, "image': is of type float32, not uint8"),
        ({"image": np.zeros((6, 7), np.uint8)}, r"image': is of shape \(6, 7\), not \(N, C, H, W"),
        ({"image": np.zeros((6, 7, 8, 2), np.uint8)}, "image': .* neither the second nor the last"),
        ({"image": np.zeros((6, 3, 7, 3), np.uint8)}, "image': .* the second or the last could be"),
        (
            {"image": np.zeros((0, 3, 7, 9), np.uint8), "label": np.zeros(0, int)},
            r"image': is of shape \(0, 3, 7, 9\)",
        ),
        ({"image": np.asfortranarray(np.ones((6, 3, 7, 9), np.uint8))}, "image': .*Fortran's ord"),
        ({"image": np.uint8(3)}, "image': cannot be read .it has no rows"),
        ({"label": np.zeros(6)}, "label': is of type float64, not whole numbers or texts"),
        ({"label": np.zeros(6, bool)}, "label': is of type bool"),
        ({"label": np.array(NAMES, object)}, "label': .*Python objects, which are never unpickled"),
        ({"label": [[1]] * 6}, r"label': is of shape \(6, 1\), not of one axis"),
        ({"label": NAMES[1:]}, "label': has 5 entries for 6 images"),
        ({"label": [0, 0, 0, 1, 1, -2]}, "label': -2 is no label; fix: -1 = no label"),
        ({"label": [0, 0, 0, 1, 1, 3], "classes": NAMES[:2]}, "label': 3 is no label; .* 0 to 1,"),
        ({"classes": ["cat", "dog"]}, "label': no class is called 'cow'; fix: use one of"),
        ({"classes": ["cat", "dog", "cov"]}, "label': .* 'cow'; fix: did you mean 'cov'"),
        ({"label": np.array(["\u00e9".encode("latin1")] * 6)}, "label': is not UTF-8"),
        ({"split": ["tset", *[""] * 5]}, "split': no split is called 'tset'; .* mean 'test'"),
        ({"split": ["", "", "val", "", "", ""]}, "split': 1 val or test .* the first in row 2"),
        ({"split": np.zeros(6, int)}, "split': is of type int64, not texts"),
    ],
)
def test_arrays_of_other_forms_are_refused(pixels, change, said):
    np.savez("made.npz", **{"image": pixels, "label": NAMES} | change)
    [line] = lines("made.npz")
    assert re.search(said, line)


def test_all_that_is_wrong_is_named_in_one_pass(pixels):
    root = write(images=pixels, labels=NAMES, split=[0])
    assert lines(root) == [
        "made.npz: holds no array 'image'; fix: save it by that name; there are: images, labels, "
        "split",
        "made.npz: holds no array 'label'; fix: save it by that name; there are: images, labels, "
        "split",
        "made.npz, array 'split': is of type int64, not texts; fix: save it as such, with astype",
    ]


def test_a_class_that_is_not_there_is_one_line(pixels):
    [line] = lines(write(image=pixels, label=NAMES), "cat", "dgo")
    assert line == "data.classes: no class is called 'dgo'; fix: did you mean 'dog'?"


def test_what_is_no_file_of_arrays_is_one_line(pixels, tmp_path):
    (tmp_path / "text.npz").write_text("no arrays")
    (tmp_path / "pickled.npz").write_bytes(pickle.dumps({"image": 1}))
    (tmp_path / "empty").mkdir()
    assert "text.npz: is no .npz file" in lines("text.npz")[0]
    assert "pickled.npz: is no .npz file" in lines("pickled.npz")[0]
    assert "none: no such file or folder" in lines("none")[0]
    assert "empty: holds no array 'image'" in lines("empty")[0]
    with zipfile.ZipFile("odd.npz", "w") as archive:
        archive.writestr("image.npy", "no array")
        archive.writestr("../label.npy", "elsewhere")
    said = lines("odd.npz")
    assert "holds no array 'label'" in said[0] and "array 'image': cannot be read" in said[1]


class Trap:
    """Unpickled, it would write a file."""

    def __reduce__(self):
        return open, ("trapped", "w")


def test_no_array_runs_code(pixels):
    np.save("trap.npy", np.array([Trap()] * 6, dtype=object), allow_pickle=True)
    with zipfile.ZipFile("made.npz", "w") as archive:
        whole = io.BytesIO()
        np.save(whole, pixels)
        archive.writestr("image.npy", whole.getvalue())
        archive.write("trap.npy", "label.npy")
    assert "never unpickled" in lines("made.npz")[0] and not Path("trapped").exists()


def test_arrays_of_a_folder_lie_within_it(pixels, tmp_path):
    write("folder", image=pixels)
    np.save("outside.npy", np.array(NAMES))
    Path("made/label.npy").symlink_to(tmp_path / "outside.npy")
    [line] = lines("made")
    assert "made, array 'label': cannot be read (leads out of made)" in line


def test_a_file_that_is_cut_off_is_one_line(pixels):
    root = write("folder", image=pixels, label=NAMES)
    whole = (root / "image.npy").read_bytes()
    (root / "image.npy").write_bytes(whole[:-10])
    with pytest.raises(UserError, match="array 'image': cannot be read .it ends after row 5"):
        read(root)
