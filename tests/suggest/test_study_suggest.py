"""The study of suggestions: its person labels what was chosen, its arms differ in the choice."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, tiny_values, write_params

from benchmarks import study_suggest
from benchmarks.study_suggest import Images, Labelling
from pipeline.data import store
from pipeline.suggest.answers import Answers


@pytest.fixture
def study(tmp_path, monkeypatch) -> Labelling:
    """One model of few steps."""
    monkeypatch.chdir(tmp_path)
    Path("benchmarks/results").mkdir(parents=True)
    write_params(tmp_path, tiny_values())
    names = ("generations", "meta_pseudo_labels", "baselines", "tasks")
    changes = {name: {} for name in names} | {"final": "teacher", "training.steps": 4}
    return Labelling("toy", Path("params.yaml"), changes, ["teacher"], 5, {"unlabelled": 60})


def test_each_round_labels_so_many_images_of_the_same_set(study, monkeypatch):
    monkeypatch.setattr(study_suggest, "ROUNDS", 2)
    for arm in ("doubt", "clusters", "wider"):
        monkeypatch.delitem(study_suggest.ARMS, arm)
    made = study_suggest.run(study, [3])
    assert [(row["arm"], row["seed"], row["round"], row["labels"]) for row in made] == [
        (arm, "3", str(number), str(24 + 5 * number))
        for arm in ("random", "suggest")
        for number in range(3)
    ]
    first = {row["acc/teacher"] for row in made if row["round"] == "0"}
    assert len(first) == 1 and 0 < float(first.pop()) < 1
    again = study_suggest.run(study, [3])
    assert again == made  # nothing is computed twice
    with open(study.csv, encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == made


@pytest.mark.parametrize("arm", study_suggest.ARMS)
def test_every_arm_chooses_different_images(rng, arm):
    probs = rng.dirichlet(np.ones(3), (2, 40)).astype(np.float32)
    features = rng.normal(size=(40, 5)).astype(np.float32)
    asked = Answers(["a", "b"], list("xyz"), probs, features, features[:3])
    assert len(set(study_suggest.ARMS[arm](asked, 6, rng).tolist())) == 6


def test_rows_are_labelled_with_their_truth(chain, rng):
    before = store.load(study_suggest.BASE)
    images = Images({}, rng)
    truth, paths = before.truth(), before.paths("unlabelled")
    images.label_rows([4, 1])
    images.save()
    after = store.load(study_suggest.BASE)
    label = dict(zip(after.paths("labelled"), after.array("labelled", "label").tolist()))
    assert [label[paths[row]] for row in (4, 1)] == truth[[4, 1]].tolist()
    assert len(label) == before.num("labelled") + 2
    assert after.paths("unlabelled") == [p for row, p in enumerate(paths) if row not in (1, 4)]
    for split in ("val", "test"):
        np.testing.assert_array_equal(after.array(split), before.array(split))


def test_the_studies_are_those_of_the_committed_params(monkeypatch):
    monkeypatch.chdir(ROOT)
    from pipeline.params.schema import Params

    for study in (study_suggest.digits(), study_suggest.cifar10(Path("."))):
        params = Params.model_validate(study.values(1))
        assert list(params.lineage()) == study.models
        assert (params.seed, params.data.seed) == (1, 1)
        own = replace(study, changes={}).values(1)
        assert own["training"].items() >= {"ema": 0.99}.items()


def test_the_table_has_the_gain_by_seed():
    study = replace(study_suggest.digits(), models=["g1"])
    made = [
        {"arm": arm, "seed": seed, "round": number, "labels": "48", "acc/g1": str(accuracy)}
        for arm, of in {"random": (0.5, 0.6), "suggest": (0.7, 0.9)}.items()
        for seed, accuracy in zip("12", of)
        for number in "123"
    ]
    text = study_suggest.table(study, made)
    assert "| 48 | g1 | random | 2 | 55.00" in text
    assert "| suggest | 2 | 80.00" in text and "| +25.00" in text and "| 2 of 2 |" in text
