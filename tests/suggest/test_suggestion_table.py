"""A file of suggestions keeps what a person wrote into it."""

import csv

import pytest

from pipeline.core.errors import UserError
from pipeline.suggest import table
from pipeline.suggest.table import Suggestion

ONE = Suggestion("a/1.png", "cat", 0.51239, "undecided")
TWO = Suggestion('b, "c"/é\n.png', "dog", 1.0, "like 3 others")


def test_a_new_file_has_a_line_for_each_with_an_empty_label(tmp_path):
    path = tmp_path / "new" / "s.csv"
    assert table.read(path) == []
    table.write(path, [], [ONE, TWO])
    with open(path, encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert list(first) == ["path", "label", "answer", "probability", "why"]
    assert first == {
        "path": "a/1.png",
        "label": "",
        "answer": "cat",
        "probability": "0.5124",
        "why": "undecided",
    }
    assert second["path"] == TWO.path and second["label"] == ""


def test_labels_and_columns_of_a_person_stay(tmp_path):
    path = tmp_path / "s.csv"
    path.write_bytes("\ufeffpath,label,note\r\nx.png,cat,blurred\r\ny.png\r\n".encode())
    table.write(path, table.read(path), [ONE])
    lines = table.read(path)
    assert [line["path"] for line in lines] == ["x.png", "y.png", "a/1.png"]
    assert (lines[0]["label"], lines[0]["note"]) == ("cat", "blurred")
    assert (lines[1]["label"], lines[2]["note"]) == ("", "")
    assert list(lines[0]) == ["path", "label", "note", "answer", "probability", "why"]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_what_a_spreadsheet_saves_otherwise_is_read_and_written_with_commas(tmp_path, delimiter):
    path = tmp_path / "s.csv"
    lines = [["path", "label", "probability"], ["x, y.png", "cat", "0,51"]]
    path.write_text("\r\n".join(delimiter.join(line) for line in lines), encoding="utf-8")
    table.write(path, table.read(path), [ONE])
    with open(path, encoding="utf-8", newline="") as file:
        first, _ = csv.DictReader(file)
    assert (first["path"], first["label"], first["probability"]) == ("x, y.png", "cat", "0,51")


def test_a_line_with_too_many_cells_is_refused(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("path,label\na.png,cat\nb.png,dog,what,else\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"s\.csv:3: has 4 cells.* 2 columns"):
        table.read(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"file,label\na.png,cat\n", r"s\.csv:1: has no column 'path' \(but file, label\)"),
        (b"path,label\n\xff\xfe,cat\n", "cannot be read"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path, content, said):
    path = tmp_path / "s.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        table.read(path)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        table.read(tmp_path)
