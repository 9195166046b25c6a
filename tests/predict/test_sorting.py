"""Files moved and copied by their class: nothing is lost, nothing is written over."""

import os
from pathlib import Path

import pytest

from pipeline.core.errors import UserError
from pipeline.predict import sorting
from pipeline.predict.results import Told


@pytest.fixture
def files(tmp_path, monkeypatch) -> list[str]:
    """Two files of one name and another."""
    monkeypatch.chdir(tmp_path)
    paths = ["one/a.jpg", "two/a.jpg", "two/b.jpg"]
    for path in paths:
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text(path)
    return paths


def told(paths: list[str], answers: str, probability: float = 1.0) -> list[Told]:
    return [Told(p, {"c": "cat", "d": "dog"}[a], probability) for p, a in zip(paths, answers)]


def there(folder: str = ".") -> dict[str, str]:
    """Every file below a folder and what is in it."""
    return {str(p): p.read_text() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


SORTED = {"to/cat/a.jpg": "one/a.jpg", "to/cat/a-2.jpg": "two/a.jpg", "to/dog/b.jpg": "two/b.jpg"}


def test_files_move_to_their_class_by_free_names(files):
    assert sorting.sort(told(files, "ccd"), "to", False, 0.0) == "moved 3 to to"
    assert there() == SORTED


def test_copies_leave_the_files_where_they_are(files):
    assert sorting.sort(told(files, "ccd"), "to", True, 0.0) == "copied 3 to to"
    assert there() == SORTED | {path: path for path in files}
    os.symlink("b.jpg", "two/link.jpg")
    assert sorting.sort(told(["two/link.jpg"], "c"), "to", True, 0.0) == "copied 1 to to"
    assert Path("to/cat/link.jpg").read_text() == "two/b.jpg"


@pytest.mark.parametrize("copies", [True, False])
def test_a_file_that_is_there_is_never_written_over(files, copies):
    for name in ("a.jpg", "a-2.jpg", "a-4.jpg"):
        Path("to/cat").mkdir(parents=True, exist_ok=True)
        Path("to/cat", name).write_text("mine")
    sorting.sort(told(files[:2], "cc"), "to", copies, 0.0)
    new = {"to/cat/a-3.jpg": "one/a.jpg", "to/cat/a-5.jpg": "two/a.jpg"}
    assert (
        there("to")
        == dict.fromkeys(("to/cat/a.jpg", "to/cat/a-2.jpg", "to/cat/a-4.jpg"), "mine") | new
    )


def test_what_is_less_certain_stays(files):
    certain = [*told(files[:1], "c", 0.9), *told(files[1:], "cd", 0.8999)]
    assert sorting.sort(certain, "to", False, 0.9) == "moved 1 to to; 2 left, under 90%"
    assert there("to") == {"to/cat/a.jpg": "one/a.jpg"}
    surer = told(["two/b.jpg"], "d", 0.95)
    assert sorting.sort(surer, "to", False, 0.9) == "moved 1 to to; 0 left, under 90%"


def test_a_file_of_its_classs_folder_stays_and_one_of_another_moves(files):
    sorting.sort(told(files, "ccd"), "to", False, 0.0)
    again = told(["to/cat/a.jpg", "to/cat/a-2.jpg", "to/dog/b.jpg"], "cdd")
    assert sorting.sort(again, "to/../to", False, 0.0) == "moved 1 to to/../to"
    assert list(there()) == ["to/cat/a.jpg", "to/dog/a-2.jpg", "to/dog/b.jpg"]


def test_across_disks_a_file_is_copied_then_removed(files, monkeypatch):
    def rename(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "rename", rename)
    sorting.sort(told(files, "ccd"), "to", False, 0.0)
    assert there() == SORTED


def test_what_cannot_be_moved_is_said_and_is_whole_and_all_else_moves(files, monkeypatch):
    os.symlink("b.jpg", "two/link.jpg")
    Path("to").mkdir()
    Path("to/dog").write_text("a file where a folder should be")
    given = told([*files, "two/link.jpg"], "ccdc")
    with pytest.raises(UserError) as caught:
        sorting.sort(given, "to", False, 0.0)
    assert caught.value.lines == [
        "error: two/b.jpg: cannot be put into to/dog (File exists); fix: move it by hand",
        "error: two/link.jpg: is a link, which is not moved; fix: move it by hand",
    ]
    assert Path("two/b.jpg").read_text() == "two/b.jpg" and os.path.islink("two/link.jpg")
    assert {"to/cat/a.jpg", "to/cat/a-2.jpg"} <= set(there())


def test_a_failing_copy_leaves_no_empty_file(files, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copy2", full)
    with pytest.raises(UserError, match="No space left on device"):
        sorting.sort(told(files, "ccd"), "to", True, 0.0)
    assert there("to") == {} and len(there()) == 3


@pytest.mark.parametrize("name", ["..", ".", "a/b", "/etc", "a\\b", "a\0b"])
def test_classes_that_would_lead_elsewhere_are_refused(name):
    with pytest.raises(UserError, match="cannot be the name of a folder"):
        sorting.check("to", ["cat", name])
    sorting.check("to", ["cat", "..cat", "é ü"])
