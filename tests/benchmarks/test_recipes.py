"""The study of the proposed recipe: its photos, and the digits' recipe on them."""

import pytest
from conftest import ROOT
from PIL import Image

from benchmarks import recipes
from pipeline.params.check import load
from pipeline.proposal.place import look

DATA = {"source": "folder", "root": "photos", "classes": ["cat", "dog"], "size": 8, "seed": 0}


@pytest.fixture
def images(tmp_path):
    """Six training and two test photos of each of two classes, under the same names."""
    for split, num in (("train", 6), ("test", 2)):
        for name in ("cat", "dog"):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(num):
                Image.new("RGB", (8, 8), (number, len(split), ord(name[0]))).save(
                    folder / f"{number}.png"
                )
    return tmp_path / "images"


def contents(folder) -> set[bytes]:
    return {path.read_bytes() for path in folder.rglob("*.png")}


def test_a_draw_has_labels_of_each_class_and_the_rest_in_one_folder(images, tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "LABELLED", 2)
    monkeypatch.setattr(recipes, "UNLABELLED", 7)
    draws = [tmp_path / str(number) for number in range(3)]
    for folder, seed in zip(draws, (0, 0, 1)):
        recipes.draw(images, folder, seed)
    found = look(draws[0]).found
    assert found.training == {"cat": 2, "dog": 2} and found.unlabelled == 7
    assert {name: sum(of.values()) for name, of in found.held.items()} == {"test": 4}
    train, crowd = (contents(draws[0] / name) for name in ("train", "unsorted"))
    assert len(train | crowd) == 11  # no photo is in both
    assert train == contents(draws[1] / "train") and train != contents(draws[2] / "train")


def test_the_digits_recipe_on_photos_is_the_one_that_studies_start_from(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    data = DATA | {"labels_per_class": "all", "val": 0.2, "test": 0.0}
    values, path = recipes.digits(data), tmp_path / "params.yaml"
    recipes.files.write_json(path, values)
    params, own = load(path), load(recipes.DIGITS_PARAMS)
    assert params.training == own.training and params.generations == own.generations
    assert params.data.root == "photos" and params.final == "g3" and not params.tasks
