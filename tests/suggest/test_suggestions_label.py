"""The way round: photos without labels, suggestions, a person, labels, and the next suggestions."""

import csv
from pathlib import Path

import numpy as np
import pytest
from conftest import run_stages, tiny_values, write_params
from PIL import Image
from sklearn.datasets import load_digits

from pipeline.__main__ import main
from pipeline.data import store

CLASSES = ["three", "four"]
LABELLED, NEW, OUT = 6, 12, "photos/next.csv"


def photos(root: Path) -> dict[str, str]:
    """Digits as files, some in folders of their classes and some in one; the classes of those."""
    digits, truth = load_digits(), {}
    for digit, name in zip((3, 4), CLASSES):
        for number, row in enumerate(np.flatnonzero(digits.target == digit)[: LABELLED + NEW]):
            label = number < LABELLED
            path = Path(name if label else "new", f"{name[0]}{number * 7 % 18}.png")
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            image = np.rint(digits.images[row] * 255 / 16).astype(np.uint8)
            Image.fromarray(image).convert("RGB").save(root / path)
            truth |= {} if label else {str(path): name}
    return truth


@pytest.fixture
def truth(tmp_path, monkeypatch) -> dict[str, str]:
    """Photos, params, and a teacher from the labelled ones."""
    monkeypatch.chdir(tmp_path)
    values = tiny_values()
    values["data"] |= {"source": "folder", "root": "photos", "unlabelled": ["new"]}
    values["data"] |= {"classes": CLASSES, "labels_per_class": "all", "val": 0.4, "test": 0}
    values["training"] |= {"steps": 6, "evaluate_every": 6}
    values |= {name: {} for name in ("generations", "meta_pseudo_labels", "baselines", "tasks")}
    values |= {"final": "teacher", "report": {"test": False, "register": False}}
    truth = photos(tmp_path / "photos")
    write_params(tmp_path, values)
    run_stages("prepare", "teacher")
    return truth


def filled_in(truth: dict[str, str]) -> list[str]:
    """Label what the file asks for, as a person would; the paths in it."""
    with open(OUT, encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    with open(OUT, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]), delimiter=";")
        writer.writeheader()
        writer.writerows({**line, "label": truth[line["path"]]} for line in lines)
    return [line["path"] for line in lines]


def test_images_that_a_person_labels_in_the_file_are_labelled_images(truth, capsys):
    main(["suggest", "-n", "5", "--out", OUT])
    said = capsys.readouterr().out
    assert "photos/next.csv: 5 images to label" in said
    assert "and name it in params.yaml: data.manifest: [next.csv]" in said
    asked = filled_in(truth)
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("data:", "data:\n  manifest: [next.csv]", 1))
    run_stages("prepare")
    dataset = store.load(store.PREPARED / "base")
    label = {}
    for split in ("labelled", "val"):
        names = [CLASSES[i] for i in dataset.array(split, "label")]
        label |= dict(zip(dataset.paths(split), names))
    assert {path: label[path] for path in asked} == {path: truth[path] for path in asked}
    assert set(dataset.paths("unlabelled")) == set(truth) - set(asked)
    run_stages("teacher")
    main(["suggest", "-n", "4", "--out", OUT])
    assert set(filled_in(truth)[5:]) < set(truth) - set(asked)


def test_what_the_file_asks_for_and_nobody_labelled_is_not_asked_again(truth):
    main(["suggest", "-n", str(2 * NEW - 2), "--out", OUT])
    main(["suggest", "-n", "2", "--out", OUT])
    assert sorted(filled_in(truth)) == sorted(truth)
