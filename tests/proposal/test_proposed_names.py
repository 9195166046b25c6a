"""What the names of folders are taken for, and what is asked back."""

from pathlib import Path

import pytest

from pipeline.core.errors import UserError
from pipeline.proposal import names
from pipeline.sources.walk import Walk


def tree(root: Path, **folders: int) -> Walk:
    """Folders of so many empty files; `__` in a name is a level deeper, `_` stands for the root."""
    for name, num in folders.items():
        folder = root / ("" if name == "_" else name.replace("__", "/"))
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(num):
            (folder / f"{number}.jpg").touch()
    return Walk(root)


def test_folders_are_classes_but_those_whose_name_says_that_they_have_no_labels(tmp_path):
    walk = tree(tmp_path, cat=3, dog=3, Un_labelled=9, unsorted__phone=4)
    seen = names.read(walk)
    assert seen.classes == ["cat", "dog"] and seen.unlabelled == ["Un_labelled", "unsorted"]
    assert seen.notes == [
        "'Un_labelled' is taken for images without labels, by its name",
        "'unsorted' is taken for images without labels, by its name",
    ]
    assert seen.doubts == []


def test_a_far_larger_folder_stays_a_class_and_is_asked_about(tmp_path):
    walk = tree(tmp_path, cat=10, dog=9, cow=8, dump=150)
    seen = names.read(walk)
    assert seen.classes == ["cat", "cow", "dog", "dump"] and seen.unlabelled == []
    (doubt,) = seen.doubts
    assert "'dump' is taken for a class, of 150 images where others have 9.5" in doubt
    assert "`--unlabelled dump`" in doubt


@pytest.mark.parametrize(
    ("usual", "num", "asked"), [(3, 99, False), (3, 100, True), (20, 200, False), (20, 201, True)]
)
def test_a_folder_is_far_larger_from_a_hundred_and_ten_times_the_middle_one_on(
    tmp_path, usual, num, asked
):
    assert bool(names.read(tree(tmp_path, cat=usual, dog=usual, dump=num)).doubts) == asked


def test_what_a_person_says_is_without_labels_is_no_class_and_no_question(tmp_path):
    walk = tree(tmp_path, cat=10, dog=9, cow=8, dump=150)
    seen = names.read(walk, ["dump"])
    assert (seen.classes, seen.unlabelled) == (["cat", "cow", "dog"], ["dump"])
    assert (seen.notes, seen.doubts) == ([], [])
    seen = names.read(tree(tmp_path, unsorted=2), ["dump", "unsorted"])
    assert (seen.unlabelled, seen.notes) == (["dump", "unsorted"], [])


def test_classes_stand_within_the_splits_and_what_stands_beside_is_asked_about(tmp_path):
    walk = tree(
        tmp_path, train__cat=2, train__dog=2, test__cat=1, test__cow=1, more=7, Valid__cat=1, todo=1
    )
    seen = names.read(walk)
    assert seen.classes == ["cat", "cow", "dog"] and seen.unlabelled == ["todo"]
    assert [doubt.split(";")[1].strip() for doubt in seen.doubts] == [
        "if they are that split, rename it to 'val'",
        "if they have no labels, use `--unlabelled more`",
    ]
    assert names.has_classes(walk) and not names.has_classes(tree(tmp_path / "b", train=1, test=1))
    assert "classes: 7 files" in names.read(tree(tmp_path, _=3, train=4)).doubts[-1]


def test_a_class_with_the_name_of_a_split_is_asked_about(tmp_path):
    (doubt,) = names.read(tree(tmp_path, cat=2, dog=2, test=2)).doubts
    assert doubt.startswith("'test' is taken for a class; if it is a split, put the training")


def test_loose_files_are_counted_but_for_tables(tmp_path):
    walk = tree(tmp_path, cat=2, dog=2, _=3)
    (tmp_path / "labels.CSV").touch()
    said = names.read(walk).doubts
    assert said[0] == "'labels.CSV' is not used; if it has labels, name it in data.manifest"
    assert said[1].startswith("outside the folders of classes: 3 files, not used")


def test_fewer_than_two_classes_are_an_error_that_knows_of_folders_below(tmp_path):
    with pytest.raises(UserError, match="holds 1 folders of classes.*there are photos/cat, photos"):
        names.read(tree(tmp_path, photos__cat=1, photos__dog=1))
    with pytest.raises(UserError, match="fix: make a folder for each class, named after it"):
        names.read(tree(tmp_path / "other", unlabelled=3))
