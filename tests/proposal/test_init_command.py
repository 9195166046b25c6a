"""`python -m pipeline init`: from a folder to a file that `check` likes and a chain that runs."""

import os
from argparse import Namespace

import numpy as np
import pytest
from conftest import write_params
from PIL import Image

from pipeline.__main__ import main
from pipeline.commands import check
from pipeline.core.errors import UserError
from pipeline.core.yaml_file import read
from pipeline.params.check import load
from pipeline.proposal import propose as proposing
from pipeline.proposal.place import look
from pipeline.proposal.rehearsal import Pace


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Noise of 20x16 pixels, dark cats and bright dogs: ten labelled images of each of two classes,
    forty without a label."""
    rng = np.random.default_rng(0)
    for folder, num in {"cat": 10, "dog": 10, "unlabelled": 40}.items():
        (tmp_path / "photos" / folder).mkdir(parents=True)
        for number in range(num):
            bright = 200 * (folder == "dog" or folder == "unlabelled" and number % 2)
            pixels = rng.integers(bright, bright + 55, (16, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / folder / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


@pytest.fixture
def clocked(monkeypatch):
    """A slow machine of known pace, which nobody else uses: no model is trained."""
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    asked = []

    def rehearse(params, images):
        asked.append((params.teacher.network, images.shape))
        return Pace(dict.fromkeys(("teacher", "g1", "g2"), 0.2), 0.0001, 0.0002)

    monkeypatch.setattr(proposing, "rehearse", rehearse)
    return asked


def test_a_folder_becomes_a_params_file_that_check_likes(photos, clocked, capsys):
    main(["init", "photos"])
    said = capsys.readouterr().out
    assert "'unlabelled' is taken for images without labels, by its name" in said
    assert "photos: 20 labelled images (cat 10, dog 10), 40 without a label" in said
    assert "about 4 val images" in said and "cross-validate" in said
    assert "expected on this machine" in said and "wrote params.yaml" in said
    check.run(Namespace())
    params = load()
    assert params.data.size == 16 and params.data.unlabelled == ["unlabelled"]
    assert {shape[1:] for _, shape in clocked} == {(3, 16, 16)}
    assert len(clocked) <= 4, "each rung is tried once, and only those near the choice"
    text = (photos.parent / "params.yaml").read_text()
    assert text.startswith("# A proposal for photos: 20 labelled images of 2 classes, 40 without")


def test_what_a_person_should_look_at_is_said(photos, clocked, capsys):
    for number in range(8):
        (photos / "cat" / f"{number}.png").unlink()
    (photos / "dog" / "text.png").write_text("no image")
    main(["init", "photos"])
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == [
        "photos: 53 files",
        "pixels of 52 of them: 20x16 52",
        "kinds of 52 of them: PNG RGB 52",
    ]
    looks = [line for line in said if line.startswith("look: ")]
    assert looks[0] == "look: few labelled images of cat 2; 5 or more would help most"
    assert looks[1].startswith("look: photos/dog/text.png is no image of the formats")
    assert looks[1].endswith("; remove it, or set data.on_bad_image: skip")


def test_a_busy_machine_is_a_word_worth(photos, clocked, capsys, monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    main(["init", "photos"])
    assert "look: this machine is busy" in capsys.readouterr().out


def test_minutes_set_the_steps_and_the_sum_of_the_stages(photos, clocked, capsys):
    steps = {}
    for minutes in ("1", "2"):
        main(["init", "photos", "--minutes", minutes, "--out", f"{minutes}.yaml"])
        steps[minutes] = load(f"{minutes}.yaml").training.steps
        seconds = capsys.readouterr().out.split("\nall")[1].split("\n")[0].split()
        told = float(seconds[0]) * {"s": 1, "min": 60}[seconds[1]]
        assert told <= 60 * float(minutes) * 1.01
    assert 0 < steps["1"] < steps["2"]


def test_images_are_counted_split_by_split(photos, clocked, monkeypatch):
    (photos / "train").mkdir()
    for name in ("cat", "dog"):
        (photos / name).rename(photos / "train" / name)
    for split, numbers in {"val": (0, 1), "test": (2, 3, 4)}.items():
        (photos / split / "cat").mkdir(parents=True)
        for number in numbers:
            (photos / f"train/cat/{number}.png").rename(photos / f"{split}/cat/{number}.png")
    seen = set()

    def stages(params, counts, speed):
        seen.add(counts)
        return {"all": float(params.training.steps)}

    monkeypatch.setattr(proposing.times, "stages", stages)
    place = look(photos)
    proposing.propose(place, "all", 1.0, 0.1)
    assert [(of.files, of.val, of.test, of.unlabelled) for of in seen] == [(60, 2, 3, 40)]


def test_too_few_minutes_are_an_error_that_says_how_many(photos, clocked):
    with pytest.raises(UserError, match="--minutes: 0.001 minutes are gone before anything"):
        main(["init", "photos", "--minutes", "0.001"])
    assert not (photos.parent / "params.yaml").exists()


def test_labels_may_be_hidden_and_folders_named(photos, clocked):
    main(["init", "photos", "--labels-per-class", "3"])
    assert load().data.labels_per_class == 3
    (photos / "unlabelled").rename(photos / "crowd")
    main(["init", "photos", "--unlabelled", "crowd", "--force"])
    assert load().data.unlabelled == ["crowd"] and load().data.classes == ["cat", "dog"]


def test_more_labels_than_there_are_are_an_error_and_nothing_is_written(photos, clocked):
    with pytest.raises(UserError, match="11 are asked for"):
        main(["init", "photos", "--labels-per-class", "11"])
    assert not (photos.parent / "params.yaml").exists()


def test_an_own_file_is_refused_before_anything_else_and_kept_when_forced(photos, clocked, capsys):
    write_params(photos.parent, {"mine": 1})
    with pytest.raises(UserError, match="use `--force`"):
        main(["init", "photos"])
    assert capsys.readouterr().out == "" and clocked == []
    main(["init", "photos", "--force"])
    assert read("params.yaml.bak").values == {"mine": 1} and load()
    assert "the one before is params.yaml.bak" in capsys.readouterr().out


def test_the_proposed_chain_runs(photos, clocked, monkeypatch, capsys):
    """Its stages in one process, on a file cut short in steps alone."""
    import re

    from stages import prepare, pseudo_label, report, student, teacher

    main(["init", "photos"])
    path = photos.parent / "params.yaml"
    short = {"steps": "40", "evaluate_every": "20", "warmup_steps": "2", "batch_size": "16"}
    short |= {"width": "0.0625"}
    text = path.read_text()
    for key, value in short.items():
        text = re.sub(rf"([ {{]{key}: )[0-9.]+", rf"\g<1>{value}", text)
    path.write_text(text)
    prepare.main()
    teacher.main()
    for name in load().generations:
        pseudo_label.main([name])
        student.main([name])
    report.main()
    assert "ships" in (photos.parent / "report/data/verdict.json").read_text()


def test_a_folder_that_is_not_there_is_said_before_a_file_that_is(photos, clocked, capsys):
    (photos.parent / "params.yaml").write_text("seed: 7\n")
    with pytest.raises(UserError, match="photo: no such folder"):
        main(["init", "photo"])
    with pytest.raises(UserError, match=r"params.yaml: is there"):
        main(["init", "photos"])
