"""Tables of paths, labels and splits: as a source, and on top of folders."""

import codecs
import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.core.errors import UserError
from pipeline.sources import folder, manifest
from pipeline.sources.images import Images, Wanted
from pipeline.sources.listing import File
from pipeline.sources.options import Data

CLASSES = ["cat", "dog"]
KNOWN = ["cat", "dog", "cow"]


@pytest.fixture
def root(tmp_path) -> Path:
    """Images of one grey each, whose value is their number."""
    for number in range(6):
        path = tmp_path / f"photos/x/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 5), number, dtype=np.uint8)).save(path)
    return tmp_path / "photos"


def block(root, *names: str, **changes) -> Data:
    values = {"source": "manifest", "root": str(root), "manifest": list(names) or ["a.csv"]}
    values |= {"classes": CLASSES, "labels_per_class": "all", "val": 0.2, "test": 0, "seed": 0}
    return Data.model_validate(values | changes)


def listed(root, *names: str, **changes) -> dict[str, tuple[str, str]]:
    """Label and split by path, of all classes that params know."""
    made = manifest.listing(block(root, *names, **changes), Wanted(CLASSES, frozenset(KNOWN)))
    return {file.path: (file.label, file.given) for file in made.files}


def lines(root, text: str | bytes, name: str = "a.csv") -> list[str]:
    """What is wrong with a table, without its folder."""
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        listed(root, name)
    return [line.removeprefix("error: ").replace(f"{root}/", "") for line in caught.value.lines]


def write(root, text: str | bytes, name: str = "a.csv") -> None:
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())


# --- as a source ------------------------------------------------------------------------------


def test_images_are_read_with_their_labels_and_splits_whatever_their_order(root):
    write(root, "split,path,why,label\ntest,x/3.png,?,dog\n,x/0.png,!,cat\n,./x/2.png,,\n")
    write(root, "path,label,split\nx/1.png,dog,\nx/4.png,cow,val\n", "b.csv")
    data = block(root, "b.csv", "a.csv")
    images: Images = manifest.read(data, Wanted(CLASSES, frozenset(KNOWN)))
    assert images.path == ["x/0.png", "x/1.png", "x/2.png", "x/3.png"]
    assert [images.classes[label] if label >= 0 else "" for label in images.label] == [
        "cat",
        "dog",
        "",
        "dog",
    ]
    assert images.given.tolist() == ["", "", "", "test"]
    assert images.brings == {"val", "test"}, "val images of another data set are some too"
    assert images.image[images.row][:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    found = manifest.look(data, Wanted(CLASSES, frozenset(KNOWN)))
    assert found.training == {"cat": 1, "cow": 0, "dog": 1} and found.unlabelled == 1
    assert found.held == {"val": {}, "test": {"dog": 1}}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", [b"", codecs.BOM_UTF8])
def test_spreadsheets_write_csv_in_many_ways(root, delimiter, end, bom):
    os.rename(root / "x/1.png", root / f"x/a{delimiter}b é.png")
    rows = [["label", "path"], ["cat", "x/0.png"], [" dog ", f'"x/a{delimiter}b é.png"'], [], []]
    write(root, bom + end.join(delimiter.join(row) for row in rows).encode())
    assert listed(root) == {"x/0.png": ("cat", ""), f"x/a{delimiter}b é.png": ("dog", "")}


@pytest.mark.parametrize("head", ['"path";"label"', "\n\npath;label"])
def test_a_first_line_may_be_quoted_and_blank_lines_stand_before_it(root, head):
    write(root, f"{head}\nx/0.png;cat\nx/1.png;dog\n")
    assert listed(root) == {"x/0.png": ("cat", ""), "x/1.png": ("dog", "")}


def test_a_field_of_several_lines_counts_for_as_many(root):
    said = lines(root, 'path,label,note\nx/0.png,cat,"a\nb"\n\nx/1.png,dig,\nx/2.png,dog,\n')
    assert [line.split(": ")[0] for line in said] == ["a.csv:5"]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), "utf8")])
def test_parquet_is_as_csv(root, kind):
    label = pa.array(["cat", None, "dog"], pa.string()).cast(kind)
    path = [f"x/{number}.png" for number in range(3)]
    table = pa.table({"path": path, "label": label, "split": ["", None, "val"], "score": [1, 2, 3]})
    pq.write_table(table, root / "a.parquet")
    assert listed(root, "a.parquet") == {
        "x/0.png": ("cat", ""),
        "x/1.png": ("", ""),
        "x/2.png": ("dog", "val"),
    }


def test_labels_of_parquet_may_be_whole_numbers(root):
    pq.write_table(pa.table({"path": ["x/0.png", "x/1.png"], "label": [7, 10]}), root / "a.parquet")
    wanted = Wanted(["7", "10"], frozenset(["7", "10"]))
    files = manifest.listing(block(root, "a.parquet"), wanted).files
    assert [file.label for file in files] == ["7", "10"]


def test_a_path_named_twice_counts_once_and_a_label_beats_none(root):
    write(root, "path,label,split\nx/0.png,,\nx/0.png,cat,\nx//0.png,cat,val\nx/1.png,dog,\n")
    assert listed(root) == {"x/0.png": ("cat", "val"), "x/1.png": ("dog", "")}


def test_a_class_that_nothing_is_called_is_one_line(root):
    write(root, "path,label\nx/0.png,cat\n")
    with pytest.raises(UserError, match="data.classes: no class is called 'dog'; fix: use one of"):
        listed(root)


def test_the_source_needs_a_table_below_its_root(root):
    faults = list(block(root, manifest=[]).faults())
    assert [(fault.key, fault.what) for fault in faults] == [
        ("manifest", "the source 'manifest' has its images from there")
    ]
    faults = list(block(root, "../a.csv", "/a.csv", "a.csv", "a.csv").faults())
    assert [fault.what for fault in faults] == [
        "'a.csv' is named twice",
        "'../a.csv' is not a file below data.root",
        "'/a.csv' is not a file below data.root",
    ]


# --- what is refused --------------------------------------------------------------------------


def test_every_row_that_cannot_be_used_is_named_in_one_pass(root, tmp_path):
    (tmp_path / "secret.png").write_bytes((root / "x/0.png").read_bytes())
    (root / "x/out.png").symlink_to(tmp_path / "secret.png")
    text = """path,label,split
x/0.png,cta,
x/1.png,dog,tset
x/7.png,dog,
../secret.png,cat,
/etc/passwd,cat,
C:/x/0.png,cat,
x\\0.png,cat,
x/out.png,cat,
x,dog,
,dog,
x/2.png,,test
x/3.png,cat
"x/4.png",cat,
x/4.png,dog,
x/5.png,cat,val
x/5.png,cat,train
"""
    assert lines(root, text) == [
        "a.csv:3: no split is called 'tset'; fix: did you mean 'test'?",
        "a.csv:4: 'x/7.png' cannot be read (No such file or directory); fix: correct the path, or "
        "put the file there",
        "a.csv:5: '../secret.png' leads upwards; fix: write it from data.root on, with '/'",
        "a.csv:6: '/etc/passwd' is an absolute path; fix: write it from data.root on, with '/'",
        "a.csv:7: 'C:/x/0.png' is an absolute path; fix: write it from data.root on, with '/'",
        "a.csv:8: 'x\\\\0.png' cannot be read (No such file or directory); fix: write it from "
        "data.root on, with '/'",
        f"a.csv:9: 'x/out.png' leads out of {root}; fix: correct the path, or put the file there",
        "a.csv:10: 'x' is a folder, not a file; fix: correct the path, or put the file there",
        "a.csv:11: names no path; fix: write it from data.root on, with '/'",
        "a.csv:13: has 2 fields where the first line has 3; fix: quote fields that hold the "
        "delimiter, or fill the line up",
        "a.csv:2: no class of params is called 'cta'; fix: did you mean 'cat'?",
        "a.csv:15: 'x/4.png' is 'dog' here, but 'cat' by a.csv:14; fix: correct one of them",
        "a.csv:17: 'x/5.png' is 'train' here, but 'val' by a.csv:16; fix: correct one of them",
        "a.csv:12: 'x/2.png' is a test image without a label; fix: give it a label, or no split",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "a.csv: is empty"),
        (codecs.BOM_UTF8 + b"\r\n", "a.csv: is empty"),
        ("path,label\n", "a.csv: names no images"),
        ("path\nx/0.png\n", "a.csv:1: no column is called 'label'; there are: none; fix: add it"),
        ("file,label\n", "a.csv:1: no column is called 'path'; there are: file; fix: add it"),
        ("path,lable\n", "a.csv:1: no column is called 'label'; .*; fix: rename 'lable' to it"),
        ("path,label,splits\n", "a.csv:1: no column is called 'split'; .* rename 'splits' to it"),
        ("path,label,path\n", "a.csv:1: has 2 columns 'path'; fix: keep one"),
        ("path|label\nx/0.png|cat\n", r"a.csv:1: has no columns but 'path\|label'; fix: begin"),
        ("<html>\n", "a.csv:1: has no columns but '<html>'"),
        (b"path,label\nx/0.png,cat\nx/caf\xe9.png,dog\n", "a.csv:3: is not UTF-8"),
        ("path,label\n".encode("utf-16"), "a.csv:1: is not UTF-8; fix: save it as CSV in UTF-8"),
        ('path,label\n"x/0.png,cat\nx/1.png,dog\n', r"a.csv:2: is not CSV \(.*\); fix: close its"),
        ('path,label\n"x/0.png"x,cat\n', r"a.csv:2: is not CSV \(.*\)"),
        ("path,label\n" + "x" * 200_000 + ",cat\n", r"a.csv:2: is not CSV \(field larger"),
        ("path,label\nx/0.png\0,cat\n", r"a.csv:2: 'x/0.png\\x00' cannot be read"),
        ('path,label\n"x/0\n.png",cat\n', r"a.csv:2: 'x/0\\n.png' cannot be read"),
        ("path,label\nx/0.png,c\x1b[31m\n", r"a.csv:2: no class of params .* 'c\\x1b\[31m'"),
        (b"PAR1 nothing", "a.csv: is not Parquet that can be read"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_line(root, text, said):
    [line] = lines(root, text)
    assert re.match(said, line) and "\n" not in line


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"path": ["x/0.png"]}, "a.parquet: no column is called 'label'"),
        ({"path": [1], "label": ["cat"]}, "the column 'path' is of type int64, not text"),
        ({"path": ["x/0.png"], "label": [1.0]}, "the column 'label' is of type double, not text"),
        ({"path": ["x/0.png"], "label": [b"cat"]}, "the column 'label' is of type binary"),
        ({"path": ["x/0.png", "x/1.png"], "label": ["cat", "dgo"]}, "a.parquet:2: no class of"),
    ],
)
def test_parquet_of_other_columns_is_refused(root, columns, said):
    pq.write_table(pa.table(columns), root / "made")
    [line] = lines(root, (root / "made").read_bytes(), "a.parquet")
    assert said in line


def test_a_text_of_parquet_that_is_not_utf_8_is_refused(root):
    bad = pa.array([b"x/\xff.png"]).view(pa.string())  # which nothing checks
    pq.write_table(pa.table({"path": bad, "label": ["cat"]}), root / "made")
    [line] = lines(root, (root / "made").read_bytes(), "a.parquet")
    assert line.startswith("a.parquet: is not Parquet that can be read (")


def test_tables_are_files_within_the_root(root, tmp_path):
    (tmp_path / "outside.csv").write_text("path,label\nx/0.png,cat\n")
    (root / "link.csv").symlink_to(tmp_path / "outside.csv")
    os.mkfifo(root / "pipe.csv")
    with pytest.raises(UserError) as caught:
        listed(root, "link.csv", "pipe.csv", "x", "none.csv")
    assert [line.split(": ", 1)[1].split(";")[0] for line in caught.value.lines] == [
        f"{root}/link.csv: leads out of {root}",
        f"{root}/pipe.csv: is a pipe, not a file",
        f"{root}/x: is a folder, not a file",
        f"{root}/none.csv: cannot be read (No such file or directory)",
    ]


def test_many_bad_rows_are_counted(root):
    said = lines(root, "path,label\n" + "x/9.png,cat\n" * 25)
    assert len(said) == 21 and "5 more rows cannot be used (25 in all)" in said[-1]
    assert len(lines(root, "path,label\n" + "x/9.png,cat\n" * 20)) == 20


def test_a_label_that_no_class_has_is_named_once(root):
    rows = ["x/0.png,cta"] * 1500 + ["x/1.png,horse", "x/2.png,dog"]
    assert lines(root, "\n".join(["path,label", *rows])) == [
        "a.csv:2: no class of params is called 'cta', here and in 1,499 other lines; fix: did you "
        "mean 'cat'?",
        "a.csv:1502: no class of params is called 'horse'; fix: use one of: cat, cow, dog",
    ]


def test_a_missing_root_is_one_line(tmp_path):
    with pytest.raises(UserError, match="none: no such folder"):
        listed(tmp_path / "none")


# --- on top of folders ------------------------------------------------------------------------


@pytest.fixture
def folders(root) -> Path:
    """Two images of a cat, two of a dog, and two that nobody has named."""
    for number, name in enumerate(["cat", "cat", "dog", "dog", "crowd/a", "crowd/b"]):
        (root / name).mkdir(parents=True, exist_ok=True)
        os.rename(root / f"x/{number}.png", root / name / f"{number}.png")
    os.rmdir(root / "x")
    return root


def on_top(root, wanted=CLASSES, **changes) -> dict[str, tuple[str, str]]:
    data = block(root, source="folder", unlabelled=["crowd"], **changes)
    files = folder.listing(data, Wanted(wanted, frozenset(KNOWN))).files
    return {file.path: (file.label, file.given) for file in files}


def test_a_table_gives_labels_to_images_of_folders_without(folders):
    before = on_top(folders, manifest=[])
    assert before["crowd/a/4.png"] == ("", "") and len(before) == 6
    write(folders, "path,label\ncrowd/a/4.png,dog\ncrowd/b/5.png,\n")
    after = on_top(folders)
    assert after == before | {"crowd/a/4.png": ("dog", "")} and list(after) == list(before)


def test_a_table_may_name_classes_and_splits_that_no_folder_has(folders):
    write(folders, "path,label,split\ncrowd/a/4.png,cow,\ncrowd/b/5.png,dog,val\ncat/0.png,,test\n")
    files = on_top(folders)
    assert "crowd/a/4.png" not in files, "it is of a class for another data set"
    assert files["crowd/b/5.png"] == ("dog", "val") and files["cat/0.png"] == ("cat", "test")
    assert on_top(folders, ["cow"]) == {"crowd/a/4.png": ("cow", "")}
    data = block(folders, source="folder", unlabelled=["crowd"])
    made = folder.listing(data, Wanted(CLASSES, frozenset(KNOWN)))
    assert made.brings == {"val", "test"} and made.classes == ["cat", "cow", "dog"]


def test_what_folder_and_table_say_must_agree(folders):
    (folders / "loose.png").write_bytes((folders / "cat/0.png").read_bytes())
    (folders / "cow").mkdir()
    os.rename(folders / "dog/3.png", folders / "cow/3.png")
    write(
        folders,
        "path,label\ncow/3.png,\ncat/0.png,cat\ncat/1.png,dog\ncow/3.png,dog\nloose.png,cat\n"
        "crowd/a/4.png,d\n",
    )
    with pytest.raises(UserError) as caught:
        on_top(folders)
    assert [line.split("/a.csv:", 1)[1] for line in caught.value.lines] == [
        "7: no class of params is called 'd'; fix: use one of: cat, cow, dog",
        "4: 'cat/1.png' is 'dog' here, but 'cat' by its folder; fix: correct one of them",
        "5: 'cow/3.png' is 'dog' here, but 'cow' by its folder; fix: correct one of them",
        "6: 'loose.png' is neither in the folder of a class nor in one of data.unlabelled; fix: "
        "name its folder in data.unlabelled",
    ]
    write(folders, "path,label,split\ncrowd/a/4.png,pig,vall\n")
    data = block(folders, source="folder", unlabelled=["crowd"], classes=["cat", "pig"])
    with pytest.raises(UserError) as caught:
        folder.listing(data, Wanted(["cat", "pig"], frozenset(["cat", "dog", "cow", "pig"])))
    assert len(caught.value.lines) == 1, "the class is there as soon as its row can be used"


def test_a_table_among_the_images_is_none_of_them(folders):
    write(folders, "path,label\ncrowd/a/4.png,dog\n", "crowd/labels.csv")
    assert "crowd/labels.csv" not in on_top(folders, manifest=["./crowd/labels.csv"])
    assert "crowd/labels.csv" in on_top(folders, manifest=[])
    write(folders, "path,label\n", "labels.csv")
    data = block(folders, source="folder", unlabelled=["crowd"], manifest=["labels.csv"])
    with pytest.raises(UserError, match="names no images"):
        folder.look(data, Wanted(CLASSES, frozenset(KNOWN)))


def test_an_image_may_be_taken_from_the_folder_of_its_class(folders):
    data = block(folders, source="folder", unlabelled=["cat/unsure"], manifest=[])
    (folders / "cat/unsure").mkdir()
    os.rename(folders / "cat/1.png", folders / "cat/unsure/1.png")
    files = folder.listing(data, Wanted(CLASSES, frozenset(KNOWN))).files
    assert File("cat/unsure/1.png") in files and File("cat/0.png", "cat") in files
    assert len(files) == 4
    write(folders, "path,label\ncat/unsure/1.png,dog\n")
    data = data.model_copy(update={"manifest": ["a.csv"]})
    files = folder.listing(data, Wanted(CLASSES, frozenset(KNOWN))).files
    assert File("cat/unsure/1.png", "dog") in files
