"""`python -m pipeline suggest`, from the models of a chain to the file and the page."""

import argparse
import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_values, write_params

from pipeline.commands import suggest as command
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.data import store, tasks
from pipeline.networks import checkpoint
from pipeline.suggest import answers
from pipeline.suggest import suggest as wiring
from pipeline.suggest.answers import Answers
from pipeline.suggest.rule import choose
from pipeline.suggest.suggest import PAGE, best


def suggest(*words: str) -> list[dict[str, str]]:
    """The lines of the file after the command."""
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    given = parser.parse_args(words)
    command.run(given)
    return lines(given.out)


def lines(path: str) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def by_hand(name: str, images: np.ndarray) -> np.ndarray:
    """A model's calibrated probabilities, computed here."""
    network, card = checkpoint.load(f"models/{name}")
    with torch.inference_mode():
        logits = network(torch.from_numpy(np.array(images))).logits
    return torch.softmax(logits / card["metrics"]["temperature"], 1).numpy()


def test_the_lines_are_what_the_rule_chooses_of_the_models_answers(chain):
    made = suggest("-n", "7")
    dataset = tasks.dataset("base")
    images, paths = dataset.array("unlabelled"), dataset.paths("unlabelled")
    probs = np.stack([by_hand(name, images) for name in ("teacher", "g1", "g2")])
    network, _ = checkpoint.load("models/g2")
    with torch.inference_mode():
        features = network.features(torch.from_numpy(np.array(images))).numpy()
    rows = choose(probs, features, 7)
    assert [line["path"] for line in made] == [paths[row] for row in rows]
    assert {line["label"] for line in made} == {""}
    last = probs[-1, rows]
    assert [line["answer"] for line in made] == [dataset.classes[i] for i in last.argmax(1)]
    shown = [float(line["probability"]) for line in made]
    np.testing.assert_allclose(shown, last.max(1), atol=1e-4)


def test_a_file_that_lies_elsewhere_is_to_be_moved(chain, capsys):
    suggest("-n", "1", "--out", "here/mine.csv")
    said = capsys.readouterr().out
    assert "move it into data/digits and name it in params.yaml: data.manifest: [mine.csv]" in said
    assert command._way(Path("a"), Path("a/b/c.csv")).endswith("data.manifest: [b/c.csv]")


def test_the_page_shows_the_images_of_the_lines(chain, monkeypatch):
    shown = []
    monkeypatch.setattr(wiring.page, "write", lambda _, made, images, **about: shown.extend(images))
    made = suggest("-n", "4", "--out", "a.csv") + suggest("-n", "4", "--out", "a.csv")[4:]
    dataset = tasks.dataset("base")
    image = dict(zip(dataset.paths("unlabelled"), dataset.array("unlabelled")))
    np.testing.assert_array_equal(shown, [image[line["path"]] for line in made])


def test_open_images_are_judged_by_their_own_answers_and_the_others_count_as_labelled():
    """Of five images the first is taken: by its doubt it would come first, and the last is more
    like it than like any that is chosen."""
    probs = np.array([[[0.5, 0.5], [1.0, 0.0], [0.1, 0.9], [0.4, 0.6], [0.99, 0.01]]])
    features = np.array([[1, 0], [0, 1], [0, 1], [1, 0.1], [1, 0]])
    asked = Answers(["teacher"], ["a", "b"], probs, features, np.array([[-1.0, 0]]))
    rows, made = best(asked, ["p0", "p1", "p2", "p3", "p4"], np.array([1, 2, 3, 4]), 2)
    assert rows.tolist() == [3, 2]
    assert [(one.path, one.answer) for one in made] == [("p3", "b"), ("p2", "b")]
    assert [round(one.probability, 3) for one in made] == [0.6, 0.9]
    assert [one.why for one in made] == [
        "undecided: b 60 % or a 40 %",
        "little doubted, but more than the rest; like one other",
    ]


def test_the_same_models_give_the_same_list_and_page(chain):
    one, page = suggest("-n", "5", "--out", "a/one.csv"), PAGE.read_bytes()
    Path("a/one.csv").rename("one.csv")
    assert suggest("-n", "5", "--out", "a/one.csv") == one
    assert PAGE.read_bytes() == page
    assert Path("a/one.csv").read_bytes() == Path("one.csv").read_bytes()


def test_known_labels_are_not_read(chain):
    """The truth of unlabelled images may be gone, and so may val and test."""
    before = suggest("-n", "5", "--out", "before.csv")
    folder = store.PREPARED / "base"
    Path(folder / "unlabelled/truth.npy").unlink()
    for split in ("val", "test"):
        shutil.rmtree(folder / split)
    assert suggest("-n", "5", "--out", "after.csv") == before


def test_what_was_suggested_is_not_suggested_again_and_labels_stay(chain):
    first = suggest("-n", "4")
    first[1]["label"] = "3"
    with open("suggestions.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(first[0]))
        writer.writeheader()
        writer.writerows(first)
    both = suggest("-n", "4")
    assert both[:4] == first
    assert len({line["path"] for line in both}) == 8
    assert PAGE.read_text(encoding="utf-8").count("<figure") == 4


def test_images_that_a_table_of_labels_labels_are_left_out(chain, monkeypatch):
    root = Path("photos")
    root.mkdir()
    named = suggest("-n", "3", "--out", "a.csv")
    text = "path,label\n" + "".join(f"./{x['path']},{label}\n" for x, label in zip(named, "1 2"))
    (root / "labels.csv").write_text(text, encoding="utf-8")
    labelled = command._labelled(root, ["labels.csv"])
    assert labelled == {named[0]["path"], named[2]["path"]}
    monkeypatch.setattr(command, "_labelled", lambda *_: labelled)
    assert not labelled & {line["path"] for line in suggest("-n", "3", "--out", "b.csv")}


@pytest.mark.parametrize(
    ("model", "asked"),
    [("teacher", ["teacher"]), ("g1", ["teacher", "g1"]), ("t1", ["teacher", "g1", "g2"])],
)
def test_models_of_the_chain_that_know_these_classes_are_asked(chain, monkeypatch, model, asked):
    """The task's model knows other classes too."""
    seen = []
    monkeypatch.setattr(
        checkpoint, "load", lambda p, d, load=checkpoint.load: seen.append(p) or load(p, d)
    )
    suggest("-n", "2", "--model", model)
    assert seen == [f"models/{name}" for name in asked]


def test_a_card_of_before_temperatures_answers_at_one(chain):
    folder = Path("models/teacher")
    card = files.read_json(folder / "card.json")
    del card["seal"], card["metrics"]["temperature"]
    files.write_sealed(folder / "card.json", card)
    asked = answers.read(["teacher"], tasks.dataset("base"))
    network, _ = checkpoint.load(folder)
    with torch.inference_mode():
        logits = network(torch.from_numpy(tasks.dataset("base").array("unlabelled").copy())).logits
    np.testing.assert_allclose(asked.probs[0], torch.softmax(logits, 1).numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-n", "0"], "error: suggest -n: 0 images; fix: ask for 1 at least"),
        (
            ["-n", "9999"],
            r"9999 are asked for, images without labels that are left: \d+; fix: ask for \d+",
        ),
        (["--model", "g11"], "no model of params.yaml is called 'g11'; fix: did you mean 'g1'"),
    ],
)
def test_what_cannot_be_is_said(chain, words, said):
    with pytest.raises(UserError, match=said):
        suggest(*words)
    assert not Path("suggestions.csv").exists() and not PAGE.exists()


def test_all_models_that_are_missing_are_named(chain):
    shutil.rmtree("models/teacher")
    shutil.rmtree("models/g2")
    with pytest.raises(UserError) as raised:
        suggest()
    assert [line.split(":")[1].strip() for line in raised.value.lines] == [
        "models/teacher/card.json",
        "models/g2/card.json",
    ]


def test_images_that_are_all_labelled_leave_nothing_to_suggest(chain):
    dataset = tasks.dataset("base")
    card = {k: v for k, v in dataset.card.items() if k != "seal"}
    none = dict.fromkeys(dataset.classes, 0)
    card["counts"]["unlabelled"], card["without_label"] = none, 0
    files.write_sealed(dataset.folder / "dataset.json", card)
    with pytest.raises(UserError, match="there are no unlabelled images"):
        suggest("-n", "1")


def test_without_data_the_stage_to_run_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, tiny_values())
    with pytest.raises(UserError, match="data/prepared/base/dataset.json: no such file"):
        suggest()


def test_models_of_other_classes_are_refused(chain):
    card = files.read_json("models/teacher/card.json")
    card["heads"][0]["classes"][0] = "zero"
    del card["seal"]
    files.write_sealed("models/teacher/card.json", card)
    with pytest.raises(UserError, match="no model of teacher has the classes"):
        suggest("--model", "teacher")
