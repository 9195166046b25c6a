"""digit_scenes: what lies where on a scene, what its mask says, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import tiny_values, write_params
from scenes import CLASSES, scene_values
from sklearn.datasets import load_digits

from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.data.kinds import SEGMENTATION
from pipeline.params.check import load
from pipeline.sources import digit_scenes, kind
from pipeline.sources.images import Wanted
from pipeline.sources.options import Data
from stages import prepare


def data(**keys) -> Data:
    given = tiny_values()["data"] | {"source": "digit_scenes", "classes": CLASSES}
    return Data.model_validate(given | keys)


@pytest.fixture(scope="module")
def images():
    return digit_scenes.read(data(), Wanted(CLASSES, frozenset(CLASSES)))


def test_the_source_asks_for_a_class_for_each_pixel():
    assert kind("digit_scenes") == SEGMENTATION and kind("digits") != SEGMENTATION


def test_a_scene_is_its_digit_somewhere_on_a_darker_canvas(images):
    digits = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    places = set()
    for row in range(0, 1797, 60):
        scene, ink = images.image[row, 0], images.mask[row] > 0
        assert scene.shape == (16, 16) and (scene[~ink] < 96).all()
        window = np.lib.stride_tricks.sliding_window_view(scene, (8, 8))
        strong = digits[row] >= 96  # brighter than any canvas
        fits = [p for p in np.ndindex(9, 9) if (window[p][strong] == digits[row][strong]).all()]
        masks = np.lib.stride_tricks.sliding_window_view(ink, (8, 8))
        [place] = [p for p in fits if (masks[p] == (digits[row] >= 64)).all()]
        assert ink.sum() == (digits[row] >= 64).sum()
        places.add(place)
    assert len(places) > 20


def test_each_pixel_of_a_digit_has_its_class_and_all_others_the_background(images):
    target = load_digits().target
    for row in range(0, 1797, 90):
        assert set(np.unique(images.mask[row])) == {0, target[row] + 1}


def test_a_scene_depends_on_its_digit_alone(images):
    again = digit_scenes.read(data(seed=5), Wanted(CLASSES, frozenset(CLASSES)))
    assert (again.image == images.image).all() and again.sha256 == images.sha256


def test_another_size_is_another_canvas():
    image = digit_scenes.read(data(size=24), Wanted(CLASSES, frozenset(CLASSES))).image
    assert image.shape == (1797, 1, 24, 24)


def test_classes_that_are_wanted_are_numbered_in_their_order(images):
    asked = Wanted(["8", "0"], frozenset(CLASSES))
    chosen = images.of(asked)
    target = load_digits().target
    for place, row in enumerate(chosen.row[:40]):
        expected = {8: 1, 0: 2}[target[row]]
        assert set(np.unique(chosen.mask[row])) == {0, expected}
        assert chosen.label[place] == expected - 1


def test_prepare_stores_masks_and_the_background_before_the_classes(project):
    project(scene_values())
    prepare.main()
    dataset = store.load("data/prepared/base")
    assert dataset.is_dense and dataset.classes == ["background", *CLASSES]
    assert list(dataset.card["counts"]["labelled"]) == CLASSES
    images, masks = dataset.array("labelled"), dataset.array("labelled", "label")
    assert masks.dtype == np.uint8 and masks.shape == (len(images), 16, 16)
    assert (images[:, 0][masks > 0] >= 64).all()  # the masks lie where the digits do
    assert sorted(np.unique(masks)) == [0, 1, 2, 3]
    truth = dataset.truth()
    assert truth.shape == (dataset.num("unlabelled"), 16, 16) and truth.min() == 0


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/digits").mkdir(parents=True)
    return lambda values: write_params(tmp_path, values)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"size": 7}, "a scene has a side of 8 to 128, not 7"),
        ({"size": 129}, "not 129"),
        ({"classes": ["background", "1"]}, "'background' is the class of all other pixels"),
        ({"val": 0.0}, "data.val"),
    ],
)
def test_what_a_scene_cannot_be_asked_for(project, keys, said):
    values = scene_values()
    values["data"] |= keys
    project(values)
    with pytest.raises(UserError) as error:
        load()
    assert said in str(error.value)
