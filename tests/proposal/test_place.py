"""Folders of classes, or tables of labels: what becomes the keys of the block `data`."""

from pathlib import Path

import pytest
from PIL import Image

from pipeline.core.errors import UserError
from pipeline.proposal.place import look
from pipeline.proposal.rules import plain


def photos(root: Path, *paths: str) -> Path:
    """Images of 12x10 pixels."""
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 10), (number, 0, 0)).save(root / path)
    return root


def test_folders_say_classes_and_what_has_no_label(tmp_path):
    photos(tmp_path, "train/cat/1.png", "train/dog/2.png", "test/cat/3.png", "unsorted/a/4.png")
    (tmp_path / "train/cat/broken.png").write_text("")
    place = look(tmp_path)
    assert plain(place.where) == {
        "source": "folder",
        "root": str(tmp_path),
        "unlabelled": ["unsorted"],
        "classes": ["cat", "dog"],
    }
    found = place.found
    assert found.training == {"cat": 2, "dog": 1} and found.unlabelled == 1
    assert found.held == {"test": {"cat": 1}}
    assert place.headers.side == 10 and list(place.headers.bad) == ["train/cat/broken.png"]
    good = {"unsorted/a/4.png", "test/cat/3.png", "train/cat/1.png", "train/dog/2.png"}
    assert set(place.good) == good


def test_a_table_says_labels_and_what_it_does_not_name_has_none(tmp_path):
    photos(tmp_path, "all/1.png", "all/2.png", "all/3.png", "all/4.png")
    (tmp_path / "labels.csv").write_text("path,label\nall/1.png,cat\nall/2.png,dog\nall/3.png,\n")
    place = look(tmp_path)
    assert plain(place.where) == {
        "source": "folder",
        "root": str(tmp_path),
        "manifest": ["labels.csv"],
        "unlabelled": ["all"],
        "classes": ["cat", "dog"],
    }
    assert place.found.training == {"cat": 1, "dog": 1} and place.found.unlabelled == 2


def test_a_table_that_names_all_images_is_the_source(tmp_path):
    photos(tmp_path, "1.png", "a/2.png")
    (tmp_path / "labels.csv").write_text("path,label\n1.png,cat\na/2.png,dog\n")
    place = look(tmp_path)
    assert plain(place.where)["source"] == "manifest"
    assert place.found.training == {"cat": 1, "dog": 1}


def test_folders_of_classes_win_over_a_table_which_is_asked_about(tmp_path):
    photos(tmp_path, "cat/1.png", "dog/2.png")
    (tmp_path / "notes.csv").write_text("anything\n")
    place = look(tmp_path)
    assert plain(place.where)["classes"] == ["cat", "dog"]
    assert any("'notes.csv' is not used" in doubt for doubt in place.names.doubts)


@pytest.mark.parametrize(
    ("paths", "table", "unlabelled", "said"),
    [
        (["cat/1.png", "dog/2.png"], None, ["dgo"], "no folder 'dgo'; fix: did you mean 'dog'"),
        (["a/1.png"], "path,label\na/1.png,cat\n", [], "labels.csv: names 1 classes"),
        (["a/1.png"], "path,lable\na/1.png,cat\n", [], "no column is called 'label'"),
        (["a/1.png"], "path,label\na/1.png,cat\na/2.png,dog\n", [], "labels.csv:3"),
        (["a/1.png"], "path,label\na/1.png,cat\na/1.png\na/1.png,dog\n", [], "labels.csv:3"),
    ],
)
def test_what_cannot_be_used_is_an_error(tmp_path, paths, table, unlabelled, said):
    photos(tmp_path, *paths)
    if table:
        (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(UserError) as caught:
        look(tmp_path, unlabelled)
    assert said in "\n".join(caught.value.lines)


def test_a_folder_that_is_not_there_or_holds_no_image(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        look(tmp_path / "none")
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").touch()
    with pytest.raises(UserError, match="holds no images that can be read"):
        look(tmp_path)
