"""What `check` says of the images before anything runs."""

import numpy as np
import pytest
from conftest import tiny_values, write_params
from PIL import Image

from pipeline.commands.check import run as check
from pipeline.core.errors import UserError
from pipeline.params.check import load
from pipeline.sources import survey


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Folders of empty files: nothing is read of them but their names."""
    monkeypatch.chdir(tmp_path)
    for name, num in {"cat": 30, "dog": 20, "cow": 10, "crowd": 40}.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(num):
            (tmp_path / "photos" / name / f"{number}.jpg").touch()
    return tmp_path / "photos"


def checked(folder, tasks=None, **data) -> None:
    """`check` of the tiny params with these photos."""
    values = tiny_values()
    values["data"] |= {"source": "folder", "root": "photos", "classes": ["cat", "dog"]}
    values["data"] |= {"labels_per_class": "all", "unlabelled": ["crowd"], "size": 8} | data
    values["tasks"]["t1"]["classes"] = ["cow"]
    values["tasks"]["t1"] |= {"data": {"root": "photos"}} | (tasks or {})
    write_params(folder.parent, values)
    check(None)


def lines(folder, **changes) -> list[str]:
    with pytest.raises(UserError) as caught:
        checked(folder, **changes)
    return caught.value.lines


def test_what_is_there_is_said_and_what_few_val_images_cost(photos, capsys):
    (photos / ".hidden").touch()
    checked(photos, test=0.0)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "photos: 50 labelled images (cat 30, dog 20), 40 without a label"
    assert said[1] == "left out: 1 hidden files and folders"
    assert said[2].startswith("about 8 val images: an accuracy of 80 % measured on them is uncerta")
    assert "28 points" in said[2] and said[3].startswith("no test images: ")
    assert said[4].startswith("params.yaml is right: ")


@pytest.mark.parametrize(("shown", "some"), [(2, "cat 30, dog 20)"), (1, "cat 30, and 1 more")])
def test_many_classes_are_counted(photos, capsys, monkeypatch, shown, some):
    monkeypatch.setattr(survey, "SHOWN", shown)
    checked(photos)
    assert f"50 labelled images ({some}" in capsys.readouterr().out


def test_every_fault_that_can_be_seen_is_named_at_once(photos):
    said = lines(
        photos,
        tasks={"classes": ["cwo"]},
        classes=["cat", "dgo"],
        unlabelled=["crwd"],
    )
    assert [line.split(": ", 2)[1] for line in said] == [
        "data.classes",
        "data.unlabelled",
        "tasks.t1.classes",
    ]
    assert "did you mean 'dog'?" in said[0] and "did you mean 'cow'?" in said[2]
    [line] = lines(photos, root="phtos")
    assert line.startswith("error: phtos: no such folder; fix: ")
    [line] = lines(photos, unlabelled=["crwd"])
    assert "did you mean 'crowd'?" in line


def test_labels_that_are_missing_are_counted_by_class(photos):
    said = lines(photos, labels_per_class=25, tasks={"labels_per_class": 11})
    assert said == [
        "error: data.labels_per_class: class 'dog' has 20 training images, 25 are asked for; "
        "fix: add images, or lower labels_per_class, val or test",
        "error: tasks.t1.labels_per_class: class 'cow' has 10 training images, 11 are asked for; "
        "fix: add images, or lower labels_per_class, val or test",
    ]
    (photos / "pig").mkdir()
    [line] = lines(photos, classes=["cat", "pig"])
    assert "class 'pig' has 0 training images, 1 are asked for; fix: add images, or lower" in line


def test_students_need_images_without_labels(photos):
    [line] = lines(photos, unlabelled=[])
    assert line.startswith("error: data.unlabelled: there are no images without a label")
    checked(photos, unlabelled=[], labels_per_class=5)
    data = load().data.model_copy(update={"labels_per_class": "all"})
    sources = load().sources() | {"base": data}
    assert survey.survey(sources, load().data_sets(), unlabelled=False)


def test_val_comes_from_one_place(photos, capsys):
    [line] = lines(photos, val=0.0)
    assert line.startswith("error: data.val: 0, and the source brings no val images")
    (photos / "train").mkdir()
    (photos / "val").mkdir()
    for name in ("cat", "dog", "cow"):
        (photos / name).rename(photos / "train" / name)
    (photos / "val/cat").mkdir()
    (photos / "val/cat/1.jpg").touch()
    [line] = lines(photos)
    assert line.startswith("error: data.val: 0.15, but the source brings its own val images")
    (photos / "test/dog").mkdir(parents=True)
    capsys.readouterr()
    checked(photos, val=0.0, test=0.0)
    said = capsys.readouterr().out
    assert "1 val image, 0 test images, 40 without" in said
    assert "about 1 val image:" in said and "no test images" not in said


def test_no_pixel_is_read(photos, monkeypatch):
    def refused(*_, **__):
        raise AssertionError("an image was opened")

    monkeypatch.setattr(Image, "open", refused)
    monkeypatch.setattr(np, "memmap", refused)
    checked(photos)


def test_a_root_that_dvc_would_miss_is_named(project):
    (project / "data/digits").rmdir()
    with pytest.raises(UserError) as caught:
        check(None)
    assert caught.value.lines == [
        f"error: params.yaml ({key}): 'data/digits' does not exist; fix: make the folder, or name "
        "another"
        for key in ("data.root", "tasks.t1.data.root")
    ]
    (project / "data/digits").mkdir()
    check(None)
