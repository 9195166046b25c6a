"""What `prepare` found is in findings.json and on a page; test images are not shown."""

import argparse
import re

import numpy as np
import pytest
from conftest import tiny_values, write_params
from PIL import Image

from benchmarks.duplicates import drawn
from pipeline.commands import duplicates
from pipeline.data import findings, tasks
from pipeline.pages.thumbnails import thumbnail
from pipeline.params.check import load
from pipeline.sources import alike, data_report
from pipeline.sources.prepare import prepare


def draw(path, rng, size=(12, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path, rng, monkeypatch):
    """Photos with every kind of thing to find."""
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "<b>dog"):
        for number in range(30):
            draw(tmp_path / "photos/train" / name / f"{number:02d}.png", rng)
        for number in range(4):
            draw(tmp_path / "photos/test" / name / f"{number}.png", rng)
    for number in range(45):
        draw(tmp_path / "photos/crowd" / f"{number:02d}.png", rng)
    (tmp_path / "photos/train/cat/bad.jpg").write_bytes(b"no image")
    (tmp_path / "photos/train/cow").mkdir()
    (tmp_path / "photos/train/cat/.hidden").touch()
    photos = tmp_path / "photos"
    (photos / "crowd/copy.png").write_bytes((photos / "test/cat/0.png").read_bytes())
    return tmp_path


def prepared(folder, **changes):
    values = tiny_values() | {"tasks": {}, "final": "g2"}
    values["data"] |= {"source": "folder", "root": "photos", "classes": ["cat", "<b>dog"]}
    values["data"] |= {"labels_per_class": "all", "unlabelled": ["crowd"], "test": 0.0, "size": 8}
    values["data"] |= {"on_bad_image": "skip"} | changes
    data = load(write_params(folder, values)).data
    return prepare(data, "base", data.classes, data.labels_per_class)


def test_findings_say_what_became_of_every_file(folder, rng):
    draw(folder / "photos/test/<b>dog/+.png", rng, (20, 30))
    found = findings.read(prepared(folder).folder)
    assert list(found["skipped"]) == ["train/cat/bad.jpg"]
    assert found["ignored"]["hidden files and folders"] == 1
    assert found["ignored"]["folders of classes that params do not name"] == 1
    assert found["copies"] == [["unlabelled", "test", 1]]
    assert found["sizes"] == [[10, 12, 114], [30, 20, 1]], (
        "width and height as they lie there, not as stored"
    )
    said = findings.warnings(found)
    assert "files that cannot be read and are left out: 1" in said
    assert "unlabelled images that are test images too and are left out: 1" in said


def test_the_page_counts_and_shows_images_but_none_of_test(folder, monkeypatch):
    dataset = prepared(folder)
    text = (dataset.folder / data_report.NAME).read_text("utf-8")
    assert "<b>dog" not in text and "&lt;b&gt;dog" in text
    assert "train/cat/bad.jpg" in text and "45 images whose class nobody knows" in text
    shown = set(re.findall(r'<img src="([^"]+)"', text))
    assert len(shown) == 2 * data_report.SHOWN * 2
    of = {name: {thumbnail(i) for i in dataset.array(name)} for name in ("test", "unlabelled")}
    spread = dataset.array("unlabelled")[: 4 * data_report.SHOWN : 2]
    assert not shown & of["test"] and shown & of["unlabelled"] == set(map(thumbnail, spread))
    row = re.search(r"<tr><td>cat</td>\s*((?:<td.*\s*)+?)</tr>", text)[1]
    counts = [dataset.card["counts"][name]["cat"] for name in ("labelled", "val", "test")]
    assert [int(n) for n in re.findall(r">(\d+)<", row)] == counts
    monkeypatch.setattr(data_report, "SHOWN", 100)
    names = [tile["name"] for _, tiles in data_report._sheets(dataset) for tile in tiles]
    assert sorted(names) == sorted(
        path for name in ("labelled", "val", "unlabelled") for path in dataset.paths(name)
    )


def test_copies_and_look_alikes_are_warned_of_where_they_cross_splits():
    found = {"skipped": {}, "copies": [["labelled", "labelled", 3], ["labelled", "val", 2]]}
    splits = [("val", "val"), ("labelled", "val"), ("test", "unlabelled"), ("labelled", "labelled")]
    assert findings.warnings(found | {"near_duplicates": [["", "", *s, 0.9] for s in splits]}) == [
        "labelled images that are val images too and are left out: 2",
        "near-duplicates of val or test images in another split: 2",
    ]


def test_a_person_is_told_and_warned(folder, capsys):
    data_report.say("prepare", prepared(folder))
    said = capsys.readouterr()
    assert said.out.startswith("prepare: ") and "report.html" in said.out
    assert said.err.count("warning: ") == 2


def test_the_same_images_make_the_same_page(folder):
    one = (prepared(folder).folder / data_report.NAME).read_bytes()
    assert (prepared(folder).folder / data_report.NAME).read_bytes() == one


def test_near_duplicates_across_splits_are_listed_and_warned_of(folder, monkeypatch):
    photos = folder / "photos"
    for number, pixels in enumerate(drawn(12, 48).transpose(0, 2, 3, 1)):
        Image.fromarray(pixels).save(photos / f"train/cat/drawn{number}.png")
    picture = Image.open(photos / "train/cat/drawn7.png")
    picture.save(photos / "test/cat/again.jpg", quality=75)
    dataset = prepared(folder, size=32)
    found = findings.read(dataset.folder)
    [(one, other, *splits, similarity)] = found["near_duplicates"]
    assert {one, other} == {"train/cat/drawn7.png", "test/cat/again.jpg"}
    assert "test" in splits and 0.7 < similarity < 1
    assert findings.warnings(found)[-1] == (
        "near-duplicates of val or test images in another split: 1"
    )
    assert "train/cat/drawn7.png" in (dataset.folder / data_report.NAME).read_text("utf-8")

    def refused(*_):
        raise AssertionError("the same images are compared again")

    monkeypatch.setattr(alike, "near_duplicates", refused)
    assert findings.read(prepared(folder, size=32).folder) == found
    num = sum(dataset.num(name) for name in ("labelled", "val", "test"))
    assert len(alike.alike(dataset, num)) == 1 and alike.alike(dataset, num - 1) is None
    with monkeypatch.context() as patch, pytest.raises(AssertionError, match="compared again"):
        patch.setattr(alike, "RULES", alike.RULES + 1)
        alike.alike(dataset)
    (photos / "test/cat/again.jpg").unlink()
    with pytest.raises(AssertionError, match="compared again"):
        prepared(folder, size=32)


def test_among_many_images_near_duplicates_are_left_to_a_command(folder, monkeypatch, capsys):
    photos = folder / "photos"
    for number, pixels in enumerate(drawn(12, 48).transpose(0, 2, 3, 1)):
        Image.fromarray(pixels).save(photos / f"train/cat/drawn{number}.png")
    Image.open(photos / "train/cat/drawn7.png").save(photos / "crowd/again.jpg", quality=75)
    monkeypatch.setattr(alike, "MOST", 10)
    found = findings.read(prepared(folder, size=32).folder)
    assert found["near_duplicates"] is None
    assert "`python -m pipeline duplicates` does" in findings.warnings(found)[-1]
    duplicates.run(argparse.Namespace(out="pairs.csv"))
    header, row = (folder / "pairs.csv").read_text().splitlines()
    assert header == "path,other,split,other_split,similarity"
    assert set(row.split(",")[:2]) == {"train/cat/drawn7.png", "crowd/again.jpg"}
    assert capsys.readouterr().out.endswith("pairs.csv\n")


def test_the_command_looks_at_the_images_of_tasks_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, tiny_values())
    monkeypatch.setattr(tasks, "dataset", lambda name: name)
    monkeypatch.setattr(alike, "alike", lambda name: [[name, "b", "labelled", "test", 0.9]])
    duplicates.run(argparse.Namespace(out="pairs.csv"))
    rows = (tmp_path / "pairs.csv").read_text().splitlines()[1:]
    assert rows == ["base,b,labelled,test,0.9", "t1,b,labelled,test,0.9"]
    assert capsys.readouterr().out.startswith("labelled and test: 2 pairs\n2 pairs, ")


def test_arrays_are_read_as_if_they_stood_one_behind_the_other(rng):
    parts = [rng.integers(0, 256, (num, 3, 4, 5), dtype=np.uint8) for num in (4, 0, 7, 1)]
    rows = rng.permutation(12)
    made = alike.Stacked(parts)
    assert made.shape == (12, 3, 4, 5)
    np.testing.assert_array_equal(made[rows], np.concatenate(parts)[rows])
