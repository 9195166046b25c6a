"""`python -m pipeline predict`: which model, what is printed, written, moved and refused."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, tiny_values, write_params
from PIL import Image

from pipeline.__main__ import main
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.data import tasks
from pipeline.predict import Predictor, answers, model
from pipeline.predict.predictor import Part
from pipeline.predict.results import Results


@pytest.fixture
def images(finished, tmp_path, monkeypatch) -> Path:
    """A folder of ten test images of the base task; the working folder has models."""
    monkeypatch.chdir(finished)
    folder = tmp_path / "images"
    folder.mkdir()
    for number, image in enumerate(tasks.dataset("base").array("test")[:10]):
        Image.fromarray(image[0]).save(folder / f"{number}.png")
    return folder


def ships() -> str:
    """What is predicted with where nothing is asked for."""
    return files.read_json("report/data/verdict.json")["ships"]


def probabilities(images: Path, name: str = "") -> tuple[list[str], np.ndarray]:
    """What a model says of the images in the order of their names."""
    return Predictor(f"models/{name or ships()}")(sorted(images.glob("*.png")))


def predict(*words: object) -> None:
    main(["predict", *map(str, words)])


def table(path: Path) -> list[list[str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("top", [None, 1, 2, 99])
def test_a_line_an_image_and_the_counts(images, capsys, top):
    predict(images, *(["--top", top] if top else []))
    *lines, closing = capsys.readouterr().out.splitlines()
    classes, probs = probabilities(images)
    shown = min(top or 3, len(classes))
    assert len(lines) == 10
    for path, line, row in zip(sorted(images.iterdir()), lines, probs):
        best = np.argsort(-row, kind="stable")[:shown]
        assert line == f"{path}  " + "  ".join(f"{classes[c]} {row[c]:.1%}" for c in best)
    said = [classes[c] for c in probs.argmax(1)]
    assert closing.startswith(f"10 images by {ships()}: ")
    counts = dict(re.findall(r"(\S+) \((\d+)\)", closing))
    assert counts == {name: str(said.count(name)) for name in set(said)}


def test_the_most_frequent_answer_is_named_first_and_one_image_is_one():
    results = Results(["a", "b"])
    results.add(Part(["1"], np.array([[0.9, 0.1]]), {}))
    assert results.closing("g1") == "1 image by g1: a (1)"
    results.add(Part(["2", "3"], np.array([[0.1, 0.9]] * 2), {}))
    assert results.closing("g1") == "3 images by g1: b (2), a (1)"


def test_the_csv_has_a_row_an_image_and_lines_are_not_printed(images, tmp_path, capsys):
    out = tmp_path / "new folder" / "é.csv"
    predict(images, "--csv", out, "--top", 2)
    assert len(capsys.readouterr().out.splitlines()) == 1
    head, *rows = table(out)
    assert head == ["path", "answer", "probability", "answer_2", "probability_2"]
    classes, probs = probabilities(images)
    assert [row[0] for row in rows] == sorted(map(str, images.iterdir()))
    for row, told in zip(rows, probs):
        first, second = np.argsort(-told, kind="stable")[:2]
        assert row[1::2] == [classes[first], classes[second]]
        np.testing.assert_allclose([float(p) for p in row[2::2]], told[[first, second]], atol=1e-6)


def test_equals_are_ranked_in_the_order_of_the_classes_and_a_path_keeps_its_bytes():
    table = answers.Table([str(number) for number in range(50)], 99, False)
    probs = np.tile(np.array([0.01, 0.03], dtype=np.float32), 25)[None]
    told = [
        *(f"{n},0.030000" for n in range(1, 50, 2)),
        *(f"{n},0.010000" for n in range(0, 50, 2)),
    ]
    assert table.header().count(b"probability") == 50
    row = table.rows(Part([os.fsdecode(b"\xff.png")], probs, {}))
    assert row == b"\xff.png," + ",".join(told).encode() + b"\n"


def test_the_csv_has_every_class_if_all_are_asked_for(images, tmp_path):
    predict(images, "--csv", tmp_path / "all.csv", "--all")
    head, *rows = table(tmp_path / "all.csv")
    classes, probs = probabilities(images)
    assert head == ["path", "answer", "probability", *(f"p_{name}" for name in classes)]
    told = np.array([row[3:] for row in rows], dtype=float)
    np.testing.assert_allclose(told, probs, atol=1e-6)
    assert [row[1] for row in rows] == [classes[c] for c in told.argmax(1)]
    np.testing.assert_allclose([float(row[2]) for row in rows], told.max(1))


def test_a_csv_is_whole_or_not_there(images, tmp_path, monkeypatch):
    out = tmp_path / "out.csv"
    out.write_text("older")

    def interrupted(*_):
        raise SystemExit(130)

    monkeypatch.setattr(Predictor, "_answered", interrupted)
    with pytest.raises(SystemExit):
        predict(images, "--csv", out)
    assert out.read_text() == "older" and sorted(p.name for p in tmp_path.iterdir()) == [
        "images",
        "out.csv",
    ]


def test_what_cannot_be_read_is_named_at_the_end_and_nothing_else_suffers(
    images, tmp_path, capsys, monkeypatch
):
    (images / "5-broken.png").write_bytes(b"\x89PNG no more")
    (images / "notes.txt").write_text("hello")
    os.mkfifo(images / "pipe")
    predict(images, "--csv", tmp_path / "out.csv")
    said = capsys.readouterr()
    assert len(table(tmp_path / "out.csv")) == 11 and said.out.startswith("10 images by ")
    lines = [line for line in said.err.splitlines() if line.startswith("warning: ")]
    assert [Path(line.split(": ")[1]).name for line in lines] == [
        "5-broken.png",
        "notes.txt",
        "pipe",
    ]


def test_where_nothing_can_be_read_that_is_an_error_and_no_file_is_written(images, tmp_path):
    for path in images.iterdir():
        path.write_text("no image")
    with pytest.raises(UserError) as caught:
        predict(images, "--csv", tmp_path / "out.csv")
    assert len(caught.value.lines) == 10 and not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("word", ["--move-to", "--copy-to"])
def test_images_are_sorted_from_a_probability_on(images, tmp_path, capsys, word):
    classes, probs = probabilities(images)
    names = sorted(path.name for path in images.iterdir())
    least = float(np.sort(probs.max(1))[4:6].mean())
    predict(images, word, tmp_path / "to", "--least", least)
    sure = probs.max(1) >= least
    expected = {f"{classes[probs[n].argmax()]}/{names[n]}" for n in np.flatnonzero(sure)}
    there = {str(p.relative_to(tmp_path / "to")) for p in (tmp_path / "to").rglob("*.png")}
    assert there == expected and len(expected) == 5
    left = {path.name for path in images.iterdir()}
    gone = {name for name, is_sure in zip(names, sure) if is_sure}
    assert left == (set(names) if word == "--copy-to" else set(names) - gone)
    done = "copied" if word == "--copy-to" else "moved"
    assert f"{done} 5 to {tmp_path / 'to'}; 5 left" in capsys.readouterr().out


def test_classes_that_are_no_names_of_folders_are_refused_before_an_answer(images, monkeypatch):
    monkeypatch.setattr(model.Model, "block", lambda *_: (["a/b"] * 8, slice(0, 8)))
    monkeypatch.setattr(Predictor, "stream", None)
    with pytest.raises(UserError, match="the class 'a/b' cannot be the name of a folder"):
        predict(images, "--move-to", "to")


def test_the_model_is_the_one_asked_for(images, capsys, tmp_path):
    asked = {"g1": "g1", "m1-teacher": "m1-teacher", "models/teacher": "teacher", None: ships()}
    seen = {}
    for word, name in asked.items():
        predict(images, "--csv", tmp_path / "out.csv", "--all", *(["--model", word] * bool(word)))
        assert f"10 images by {name}: " in capsys.readouterr().out
        seen[name] = np.array([row[3:] for row in table(tmp_path / "out.csv")[1:]], dtype=float)
        np.testing.assert_allclose(seen[name], probabilities(images, name)[1], atol=1e-6)
    assert len({array.tobytes() for array in seen.values()}) == len(seen)


def test_a_model_that_is_not_there_is_one_line(images, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"--model: 'g11' is no model .* did you mean 'g1'\?"):
        predict(images, "--model", "g11")
    with pytest.raises(UserError, match="did you mean 'champion'"):
        predict(images, "--model", "champio")
    params = Path("params.yaml").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="verdict.json: no such file: .* fix: run `dvc repro`$"):
        predict(images)
    Path("params.yaml").write_text(params, encoding="utf-8")
    with pytest.raises(UserError, match="models/g1: is not trained yet; fix: run `dvc repro`"):
        predict(images, "--model", "g1")
    with pytest.raises(UserError, match="verdict.json: no such file"):
        predict(images, "--model", "champion")


@pytest.fixture
def apart(chain, images, monkeypatch) -> Path:
    """The images; the working folder is a project that the test may change."""
    monkeypatch.chdir(chain)
    return images


@pytest.mark.parametrize("other", ["final", "classes", None])
def test_that_params_ask_for_other_models_by_now_is_said(apart, capsys, other):
    values = tiny_values()
    if other == "final":
        assert ships() == "g2"
        del values["generations"]["g2"]
        values |= {"tasks": {}, "final": "g1"}
    if other == "classes":
        values["data"]["classes"] = values["data"]["classes"][::-1]
    write_params(Path.cwd(), values)
    predict(apart)
    said = capsys.readouterr()
    assert f"10 images by {ships()}: " in said.out
    assert (f"note: {ships()}, which ships by" in said.err) == bool(other)


def test_what_ships_but_is_not_here_is_to_be_trained(apart):
    shutil.rmtree(f"models/{ships()}")
    with pytest.raises(UserError, match=f"models/{ships()}: ships by .*, but is not here; fix: ru"):
        predict(apart)


def test_without_a_registry_what_ships_is_the_champion_and_that_is_said(images, capsys):
    predict(images, "--model", "champion")
    said = capsys.readouterr()
    assert f"note: no champion is registered; this is {ships()}, which ships" in said.err
    assert f"10 images by {ships()}" in said.out and not Path("mlflow.db").exists()


def test_words_that_make_no_sense_are_refused_at_once(images, tmp_path):
    words = ["--top", 0, "--all", "--least", 2, "--csv", tmp_path]
    with pytest.raises(UserError) as caught:
        predict("nowhere", *words)
    assert [line.split(":")[1].strip() for line in caught.value.lines] == [
        "--top",
        "--csv",
        "--least",
        "--least",
    ]
    with pytest.raises(UserError, match="--copy-to: stands beside --move-to"):
        predict(images, "--copy-to", "a", "--move-to", "b")
    with pytest.raises(UserError, match="--all: is for the CSV"):
        predict(images, "--all")
    with pytest.raises(UserError, match="task: 't1' answers over the classes of all"):
        predict(images, "--task", "base", "--model", "t1")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_is_gone_ends_it_in_peace(images, unbuffered):
    """A process of its own, as before `| head`; the names are no plain text."""
    for path in list(images.iterdir()):
        path.rename(images / os.fsdecode(b"\xff" + path.name.encode()))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "-m", "pipeline", "predict", str(images), "--model", "g1"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, env=environment, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
