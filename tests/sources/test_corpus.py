"""A corpus of odd and bad files, names, folders and tables: each has its outcome, all in one pass,
and nothing outside of the images' root is read, nothing outside of the project written."""

import os
import sys
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import odd_files
import pytest
from conftest import ROOT
from odd_kind import PICTURE
from PIL import Image
from watched import watched

from pipeline.core.errors import UserError
from pipeline.pages import render
from pipeline.sources import folder, manifest, workers
from pipeline.sources.images import Images, Wanted
from pipeline.sources.options import Data
from pipeline.sources.prepare import prepare

SCRIPT = "<script>alert('x')<"  # a folder's name has no slash
CLASSES = ["cat", "dog", SCRIPT]
CODE = [os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, ROOT)]


class Place(NamedTuple):
    """Where a test works: the project, images elsewhere, and what nobody may touch."""

    project: Path
    photos: Path
    outside: Path


@pytest.fixture
def place(tmp_path, monkeypatch) -> Place:
    made = Place(*(tmp_path / name for name in Place._fields))
    for path in made:
        path.mkdir()
    Image.fromarray(PICTURE).save(made.outside / "secret.png")
    (made.outside / "secret.csv").write_text("path,label\ncat/0.png,cat\n")
    monkeypatch.chdir(made.project)
    monkeypatch.setattr(workers, "WORTH", 1e9)  # seconds: all in the process that is watched
    render.environment(Path("."))  # imports what it needs once
    return made


def photos_of(place: Place, per_class: int = 6) -> None:
    """Some of each class, each of its own pixels."""
    for number in range(per_class * len(CLASSES)):
        path = place.photos / CLASSES[number % len(CLASSES)] / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(PICTURE + np.uint8(number)).save(path)


def block(place: Place, source: str = "folder", **changes) -> Data:
    values = {"source": source, "root": str(place.photos), "classes": CLASSES, "seed": 0}
    values |= {"labels_per_class": 2, "val": 0.3, "test": 0}
    return Data.model_validate(values | changes)


def within(path: str, folders: list) -> bool:
    return any(Path(path).is_relative_to(os.path.realpath(folder)) for folder in folders)


def run(place: Place, ask, data: Data):
    """What a source answers; checks what it has touched."""
    before = state(place.photos), state(place.outside)
    error = None
    with watched() as heard:
        try:
            answer = ask(data, Wanted(CLASSES, frozenset([*CLASSES, "cow"])))
        except UserError as caught:
            error = caught
    [did] = heard
    assert not did.other
    assert all(within(path, [place.photos, place.project, *CODE]) for path in did.read)
    made = [place.project / "data", place.project / ".lineage"]
    assert all(within(path, made) for path in did.written if not within(path, CODE))
    assert not any(within(path, CODE) and "__pycache__" not in path for path in did.written)
    assert (state(place.photos), state(place.outside)) == before
    if error:
        raise error
    return answer


def state(folder: Path) -> list:
    """Names, times and sizes of all that is in it."""
    found = []
    for below, _, names in os.walk(os.fsencode(folder)):
        for path in [below, *(os.path.join(below, name) for name in names)]:
            status = os.lstat(path)
            found.append((path, status.st_mtime_ns, status.st_size))
    return sorted(found)


def lines(place: Place, ask, data: Data) -> list[str]:
    """What is wrong, by the file's name from the root on."""
    with pytest.raises(UserError) as caught:
        run(place, ask, data)
    assert all(line.startswith("error: ") and line.isprintable() for line in caught.value.lines)
    prefix = f"error: {place.photos}"
    return [line.removeprefix(f"{prefix}/").removeprefix(prefix) for line in caught.value.lines]


def test_whoever_is_watched_is_heard(place):
    with watched() as heard:
        (place.outside / "secret.png").read_bytes()
        (place.photos / "new").mkdir()
        os.listdir(place.outside)
        os.open(place.photos / "file", os.O_WRONLY | os.O_CREAT)
    [did] = heard
    real = Path(os.path.realpath(place.outside))
    assert {str(real / "secret.png"), str(real)} <= did.read
    assert {str(real.parent / "photos/new"), str(real.parent / "photos/file")} <= did.written


# --- contents ---------------------------------------------------------------------------------

OPEN = [file for file in odd_files.SPECIAL if file.fault != "leads out of"]
UNREAD = [*odd_files.BAD, *(file for file in OPEN if file.name != "folder.png")]


def contents(place: Place) -> None:
    photos_of(place)
    for where, files in {"cat": odd_files.READABLE, "dog/deep": [*odd_files.BAD, *OPEN]}.items():
        odd_files.write(place.photos / where, files)


def test_odd_files_are_read_and_bad_ones_left_out_and_named(place):
    contents(place)
    images: Images = run(place, folder.read, block(place, size=8, on_bad_image="skip"))
    assert set(images.notes.skipped) == {f"dog/deep/{file.name}" for file in UNREAD}
    for file in UNREAD:
        assert file.fault in images.notes.skipped[f"dog/deep/{file.name}"]
    assert {f"cat/{file.name}" for file in odd_files.READABLE} <= set(images.path)
    for kind in {kind for file in odd_files.READABLE for kind in file.kinds}:
        num = sum(kind in file.kinds for file in odd_files.READABLE)
        assert images.notes.converted[kind] == num
    assert len(images.path) == 18 + len(odd_files.READABLE)


def test_bad_files_are_all_named_in_one_pass(place):
    contents(place)
    said = lines(place, folder.read, block(place, size=8))
    names = sorted(file.name for file in UNREAD)
    assert [line.split(": ")[0] for line in said[:20]] == [f"dog/deep/{n}" for n in names[:20]]
    assert said[20].startswith(f": {len(names) - 20} more images cannot be read ({len(names)} in")


def test_a_name_of_several_lines_is_named_in_one(place):
    photos_of(place)
    (place.photos / "cat/new\nline\x1b[2J.png").write_bytes(b"")
    [line] = lines(place, folder.read, block(place))
    assert line.startswith("cat/new\\nline\\x1b[2J.png: is empty; fix: ")


def test_a_folder_that_cannot_be_listed_is_one_line(place, monkeypatch):
    photos_of(place)
    real = os.scandir

    def scandir(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UserError, match=r"photos/dog: cannot be listed \(Permission denied\); fix"):
        folder.look(block(place), Wanted(CLASSES, frozenset(CLASSES)))


# --- names, links and folders -----------------------------------------------------------------

READ = [  # odd names of images, all the same that is done to others
    "cat/with spaces  .png",
    "cat/ünïcödé 猫 🐈.png",
    "cat/e\u0301.png",
    "cat/\u00e9.png",
    "cat/no extension",
    "cat/SHOUTED.PNG",
    "cat/wrong.jpg",
    "cat/-rf.png",
    "cat/two..dots.",
    "cat/back\\slash.png",
    "cat/quo'te\",;.png",
    "cat/new\nline\x1b[31m.png",
    "cat/~.png",
    "cat/$HOME.png",
    "cat/%s{}.png",
    "cat/=1+1.png",
    "cat/NUL.png",
    f"cat/{'long' * 60}.png",
    "cat/folder.png/deep/deeper/x.png",
    f"{SCRIPT}/<img src=x onerror=alert(1)>.png",
    "cat/link within.png",  # to cat/00.png
]
IGNORED = {
    "hidden files and folders": [
        "cat/.DS_Store",
        "cat/._00.png",
        "cat/Thumbs.db",
        "cat/desktop.ini",
        ".git/config",
        "__MACOSX/cat/._00.png",
        "dog/.hidden/x.png",
    ],
    "folders of classes that params do not name": ["horse/x.png", "horses/x.png"],
    "files outside the classes' folders": ["readme.txt", "loose.png"],
}
LINKS = {  # names that cannot be used: what they lead to, what is said
    "cat/link.png": ("outside/secret.png", "is a link out of"),
    "cat/passwd.png": ("/etc/passwd", "is a link out of"),
    "cat/up and out.png": ("../../outside/secret.png", "is a link out of"),
    "dog/all": ("outside", "is a link out of"),
    "dog/around": ("photos", "is a link to a folder"),
    "dog/cats": ("photos/cat", "is a link to a folder"),
    "mouse": ("outside", "is a link out of"),
    os.fsdecode(b"cat/caf\xe9.png"): ("", "its name is not UTF-8"),
    os.fsdecode(b"dog/\xff\xfe"): ("", "its name is not UTF-8"),
}


def put(place: Place, name: str) -> None:
    """An image of its own pixels."""
    path = place.photos / name
    path.parent.mkdir(parents=True, exist_ok=True)
    red = zlib.crc32(os.fsencode(name)) % 256
    Image.fromarray(PICTURE + np.array([red, 100, 100], np.uint8)).save(path, "PNG")


def names(place: Place) -> None:
    photos_of(place)
    for name in [*READ[:-1], *(name for group in IGNORED.values() for name in group)]:
        put(place, name)
    (place.photos / READ[-1]).symlink_to("00.png")
    (place.photos / "cow").mkdir()


def test_odd_names_are_read_and_others_ignored_and_counted(place):
    names(place)
    images = run(place, folder.read, block(place))
    assert set(READ) <= set(images.path) and len(images.path) == 18 + len(READ)
    assert images.notes.ignored == {kind: len(group) for kind, group in IGNORED.items()}
    assert "cow" in images.classes, "an empty folder is a class"


def test_links_and_names_that_cannot_be_used_are_all_named_in_one_pass(place):
    names(place)
    for name, (target, _) in LINKS.items():
        if target:
            path = target if target[0] in "/." else place.photos.parent / target
            (place.photos / name).symlink_to(path)
        else:
            put(place, name)
    (place.photos / "away").symlink_to(place.outside)
    (place.photos / "bare").mkdir()
    data = block(place, unlabelled=["away", "bare", "cta"], manifest=["away/secret.csv"])
    said = lines(place, folder.look, data)
    for name, (_, what) in LINKS.items():
        shown = os.fsencode(name).decode("utf-8", "backslashreplace")
        assert sum(line.startswith(f"{shown}: {what}") for line in said) == 1
    found = [line.split(";")[0] for line in said if "away" in line or "unlabelled" in line]
    assert found == [
        f"error: data.unlabelled: 'away' is a link out of {place.photos}",
        f"error: data.unlabelled: the folder 'bare' of {place.photos} holds no images",
        f"error: data.unlabelled: {place.photos} has no folder 'cta'",
        f"away/secret.csv: leads out of {place.photos}",
        f"away: is a link out of {place.photos}",
    ]
    assert len(said) == len(LINKS) + len(found)


# --- tables -----------------------------------------------------------------------------------

ROWS = {  # rows of one table, with what is said of each; "" = it is used
    "cat/00.png,cat,": "",
    "./cat/03.png,cat,train": "",
    '"cat/with, comma.png",cat,': "",
    "cat/06.png,,": "",
    "cat/09.png, cat ,val": "",
    "dog/01.png,dgo,": "no class of params is called 'dgo'; fix: did you mean 'dog'?",
    "dog/04.png,Dog,": "no class of params is called 'Dog'; fix: did you mean 'dog'?",
    "dog/07.png,horse,": "no class of params is called 'horse'; fix: use one of",
    "dog/10.png,dog,tran": "no split is called 'tran'; fix: did you mean 'train'?",
    "dog/13.png,,val": "'dog/13.png' is a val image without a label",
    "gone.png,cat,": "'gone.png' cannot be read (No such file or directory)",
    "cat,cat,": "'cat' is a folder, not a file",
    ",cat,": "names no path",
    ".,cat,": "'.' is a folder, not a file",
    "/etc/passwd,cat,": "'/etc/passwd' is an absolute path",
    "../outside/secret.png,cat,": "'../outside/secret.png' leads upwards",
    "cat/../../outside/secret.png,cat,": "leads upwards",
    "link.png,cat,": "'link.png' leads out of",
    "away/secret.png,cat,": "'away/secret.png' leads out of",
    "pipe.png,cat,": "'pipe.png' is a pipe, not a file",
    "cat\\12.png,cat,": "'cat\\\\12.png' cannot be read (No such file or directory); fix: write it",
    "C:/photos/x.png,cat,": "'C:/photos/x.png' is an absolute path",
    "cat/00.png\0,cat,": "'cat/00.png\\x00' cannot be read",
    "file:///etc/passwd,cat,": "'file:///etc/passwd' cannot be read (No such file or directory)",
    "https://example.com/x.png,cat,": "cannot be read (No such file or directory)",
    "cat/12.png": "has 1 fields where the first line has 3",
    "cat/12.png,cat,,more": "has 4 fields where the first line has 3",
    "cat/15.png,cat,": "",
    "cat//15.png,dog,": "'cat/15.png' is 'dog' here, but 'cat' by",
}
TABLES = {  # whole tables that cannot be read
    "empty.csv": (b"", "is empty"),
    "header.csv": (b"path,label\n", "names no images"),
    "latin1.csv": ("path,label\ncat/é.png,cat\n".encode("latin1"), "is not UTF-8"),
    "utf16.csv": ("path,label\ncat/00.png,cat\n".encode("utf-16"), "is not UTF-8"),
    "excel.xlsx": (b"PK\x03\x04\xff\xfe", "is not UTF-8"),
    "page.csv": (b"<html></html>\n", "has no columns but '<html></html>'"),
    "pipes.csv": (b"path|label\ncat/00.png|cat\n", "has no columns but 'path|label'"),
    "names.csv": (b"file,label\ncat/00.png,cat\n", "no column is called 'path'"),
    "quote.csv": (b'path,label\n"cat/00.png,cat\n', "is not CSV"),
    "cut.parquet": (b"PAR1\0\0\0\0PAR1", "is not Parquet"),
    "folder.csv": (None, "is a folder, not a file"),
    "link.csv": ("outside/secret.csv", "leads out of"),
    "gone.csv": ("outside/gone.csv", "leads out of"),
    "pipe.csv": (os.mkfifo, "is a pipe, not a file"),
}


def tables(place: Place) -> list[str]:
    """Their names."""
    photos_of(place)
    put(place, "cat/with, comma.png")
    (place.photos / "away").symlink_to(place.outside)
    (place.photos / "link.png").symlink_to(place.outside / "secret.png")
    os.mkfifo(place.photos / "pipe.png")
    whole = "\r\n".join(["path,label,split", *ROWS])
    (place.photos / "rows.csv").write_bytes(b"\xef\xbb\xbf" + whole.encode())
    for name, (content, _) in TABLES.items():
        path = place.photos / name
        if content is None:
            path.mkdir()
        elif isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.symlink_to(place.photos.parent / content)
        else:
            content(path)
    return ["rows.csv", *TABLES]


def test_tables_and_rows_that_cannot_be_used_are_all_named_in_one_pass(place, monkeypatch):
    monkeypatch.setattr("pipeline.sources.listing.SHOWN", 100)
    data = block(place, "manifest", manifest=tables(place))
    said = {line.split(": ", 1)[0]: line.split(": ", 1)[1] for line in lines(place, look, data)}
    rows = {f"rows.csv:{number}": what for number, what in enumerate(ROWS.values(), 2) if what}
    whole = {name: what for name, (_, what) in TABLES.items()}
    for where, what in rows.items():
        assert what in said[where], where
    for name, what in whole.items():
        [found] = [found for where, found in said.items() if where.split(":")[0] == name]
        assert what in found
    assert len(said) == len(rows) + len(whole)


def look(data: Data, wanted: Wanted):
    return manifest.look(data, wanted)


# --- the same picture twice -------------------------------------------------------------------


def into_prepared(data: Data, wanted: Wanted):
    return prepare(data, "base", data.classes, data.labels_per_class)


def test_the_same_pixels_are_found_however_they_are_encoded(place):
    photos_of(place)
    Image.open(place.photos / "cat/00.png").save(place.photos / "cat/again.bmp")
    dataset = run(place, into_prepared, block(place))
    assert dataset.card["copies_left_out"] == 1
    for number, name in enumerate(["dog/same.bmp", "dog/same.webp", f"{SCRIPT}/same.tiff"]):
        image = Image.open(place.photos / f"cat/{3 * number:02d}.png")
        image.save(place.photos / name, lossless=True)
    said = lines(place, into_prepared, block(place))
    assert [line.split(";")[0].removeprefix("error: ") for line in said] == [
        f"cat/06.png: has the pixels of {SCRIPT}/same.tiff but another label",
        "dog/same.bmp: has the pixels of cat/00.png but another label",
        "dog/same.webp: has the pixels of cat/03.png but another label",
    ]


def test_test_images_among_the_training_images_are_refused_or_left_out(place):
    photos_of(place, 12)
    (place.photos / "train").mkdir()
    for name in CLASSES:
        (place.photos / name).rename(place.photos / "train" / name)
        put(place, f"test/{name}/new.png")
    for number in range(2):
        image = Image.open(place.photos / f"train/cat/{3 * number:02d}.png")
        image.save(place.photos / f"test/cat/leak {number}.bmp")
    [line] = lines(place, into_prepared, block(place))
    assert "2 test images among the training images: train/cat/00.png = test/cat/leak" in line
    dataset = run(place, into_prepared, block(place, on_duplicate="remove"))
    assert dataset.num("test") == 5 and "train/cat/00.png" not in dataset.paths("labelled")


def test_names_from_outside_are_escaped_in_the_page(place):
    names(place)
    dataset = run(place, into_prepared, block(place))
    page = (dataset.folder / "report.html").read_text()
    assert "<script>alert(" not in page and "&lt;script&gt;alert(&#39;x&#39;)&lt;" in page
    assert "<img src=x" not in page
    paths = {path for split in ("labelled", "unlabelled", "val") for path in dataset.paths(split)}
    assert paths <= {*READ, *(str(p.relative_to(place.photos)) for p in place.photos.rglob("*"))}


def test_the_corpus_is_large():
    kinds = [odd_files.READABLE, UNREAD, READ, *IGNORED.values(), LINKS, ROWS, TABLES]
    assert sum(map(len, kinds)) >= 180
