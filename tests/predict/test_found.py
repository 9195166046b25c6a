"""Files by paths, folders and patterns."""

import os
from pathlib import Path

import pytest

from pipeline.core.errors import UserError
from pipeline.predict import found


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    names = ["b.jpg", "a.jpg", "in/c.jpg", "in/deep er/é.png", ".hidden/x.jpg", "in/.DS_Store"]
    for name in [*names, "Thumbs.db", "__MACOSX/a.jpg"]:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    return tmp_path


ALL = ["photos/a.jpg", "photos/b.jpg", "photos/in/c.jpg", "photos/in/deep er/é.png"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["photos"], ALL),
        (["photos/"], ALL),
        (["photos/b.jpg"], ["photos/b.jpg"]),
        (["photos/b.jpg", "photos", "./photos/a.jpg"], ["photos/b.jpg", ALL[0], *ALL[2:]]),
        (["photos/*.jpg"], ALL[:2]),
        (["photos/**/*.jpg"], ALL[:3]),
        (["photos/in/deep*/*"], ALL[3:]),
        (["photos/*"], ALL[:2]),
    ],
)
def test_each_file_is_found_once_in_order(folder, given, expected):
    assert found.files(given) == expected


def test_folders_are_searched_in_the_order_of_their_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "hbdfaceg":
        Path("many", name).mkdir(parents=True)
        Path("many", name, "x.jpg").touch()
    assert found.files(["many"]) == [f"many/{name}/x.jpg" for name in "abcdefgh"]


def test_a_file_whose_name_is_a_pattern_is_that_file(folder):
    (folder / "photos/[1].jpg").touch()
    assert found.files(["photos/[1].jpg"]) == ["photos/[1].jpg"]


def test_links_to_files_count_and_links_to_folders_are_not_followed(folder):
    os.symlink(folder / "photos", folder / "empty/round")
    os.symlink(folder / "photos/a.jpg", folder / "empty/a.jpg")
    assert found.files(["empty"]) == ["empty/a.jpg"]
    os.symlink("nowhere", folder / "gone.jpg")
    assert found.files(["gone.jpg"]) == ["gone.jpg"], "to be told with what cannot be read"


def test_everything_that_is_not_there_is_said_at_once(folder):
    with pytest.raises(UserError) as caught:
        found.files(["photos/aa.jpg", "photos", "empty", "photos/*.gif", "nowhere/x.jpg"])
    assert caught.value.lines == [
        "error: photos/aa.jpg: no such file or folder; fix: did you mean 'a.jpg'?",
        "error: empty: holds no files; fix: name a folder of images",
        "error: photos/*.gif: no file matches; fix: correct it; `**` stands for any folders",
        "error: nowhere/x.jpg: no such file or folder; fix: correct the path",
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("é a.jpg", "é a.jpg"), ("a\nb\x1b[1m", "a\\nb\\x1b[1m"), ("\udcff.jpg", "\\udcff.jpg")],
)
def test_what_a_terminal_cannot_print_is_written_out(name, expected):
    assert found.shown(name) == expected
