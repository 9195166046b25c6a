"""The registry: what is exported answers as the model does; when the champion moves."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline import tracking
from pipeline.__main__ import main
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.data import tasks
from pipeline.networks import checkpoint, evaluate
from pipeline.params.check import load
from pipeline.predict import Predictor
from pipeline.report.gate import Verdict
from pipeline.tracking import champion as registered
from pipeline.tracking import registry
from stages import report

SHIPPED = {"model.sha256": "a", "val_digest": "v", "val_acc": "0.900000"}


@pytest.mark.parametrize(
    ("candidate", "moves"),
    [
        ({"model.sha256": "b", "val_acc": "0.910000"}, True),
        ({"model.sha256": "b", "val_acc": "0.900000"}, True),
        ({"model.sha256": "b", "val_acc": "0.890000"}, False),
        ({"model.sha256": "b", "val_acc": "0.990000", "val_digest": "other"}, False),
        ({"model.sha256": "a", "val_acc": "0.100000"}, True),
        ({"model.sha256": "a", "val_digest": "other"}, False),
    ],
)
def test_only_a_model_as_good_on_the_same_images_becomes_champion(candidate, moves):
    assert registry.better(SHIPPED, SHIPPED | candidate)[0] is moves


def test_the_first_is_champion():
    assert registry.better(None, SHIPPED)[0]


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory) -> Path:
    """A database with MLflow's tables, which take seconds to make. Read only."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments(max_results=1)
    return path


@pytest.fixture
def tracked(chain, empty_database, monkeypatch) -> Path:
    """The finished chain with a database of its own."""
    monkeypatch.delenv("LINEAGE_TRACKING")
    shutil.copy(empty_database, chain)
    return chain


def record(ships: str, val_acc: float, register: bool = True) -> str:
    asked = replace(report.experiment(load()), register=register)
    metrics = {f"val_acc/{name}": 0.1 for name in asked.lineage} | {f"val_acc/{ships}": val_acc}
    return tracking.record_pipeline(asked, metrics, {}, Verdict(ships, ["because"]), Path("report"))


def recalibrate(name: str, temperature: float) -> None:
    """Another temperature in a card: the same weights answer otherwise."""
    card = checkpoint.read_card(f"models/{name}")
    card["metrics"]["temperature"] = temperature
    files.write_sealed(f"models/{name}/card.json", {k: v for k, v in card.items() if k != "seal"})


def champion():
    from mlflow import MlflowClient

    return MlflowClient(tracking.uri()).get_model_version_by_alias("lineage-digits", "champion")


def test_the_champion_moves_to_a_better_model_and_not_to_a_worse(tracked):
    assert "none before" in record("teacher", 0.5)
    assert champion().tags["name"] == "teacher"
    assert "< 0.5000" in record("g1", 0.4)
    assert champion().tags["name"] == "teacher"
    assert ">= 0.5000" in record("g2", 0.6)
    assert champion().tags["name"] == "g2"
    assert "same model" in record("g2", 0.6), "registered once only"
    assert int(champion().version) == 3
    assert "left alone" in record("teacher", 0.9, register=False)
    assert champion().tags["name"] == "g2"
    recalibrate("g2", 9.0)
    assert "same model" in record("g2", 0.6) and int(champion().version) == 4
    assert champion().tags["temperature"] == "9"


def test_what_is_registered_agrees_with_infer_at_any_batch_size(tracked):
    import mlflow

    record("g2", 0.5)
    mlflow.set_tracking_uri(tracking.uri())
    served = mlflow.pyfunc.load_model("models:/lineage-digits@champion")
    images = tasks.dataset("base").array("val").copy()
    network, card = checkpoint.load("models/g2")
    fitted = card["metrics"]["temperature"]
    assert abs(fitted - 1) > 0.1, "else this shows nothing of it"
    wanted = torch.softmax(evaluate.infer(network, images) / fitted, 1).numpy()
    for num in (1, 5, len(images)):
        np.testing.assert_allclose(served.predict(images[:num]), wanted[:num], atol=1e-5)


def predicted(images: Path, out: Path) -> np.ndarray:
    """What the champion says of images, (N, K)."""
    main(["predict", str(images), "--model", "champion", "--csv", str(out), "--all"])
    with open(out, encoding="utf-8", newline="") as file:
        return np.array([row[3:] for row in csv.reader(file)][1:], dtype=float)


def test_predicting_by_the_champion_is_by_the_model_here_or_by_what_is_registered(
    tracked, tmp_path, monkeypatch, capsys
):
    images = tmp_path / "images"
    images.mkdir()
    for number, image in enumerate(tasks.dataset("base").array("test")[:10]):
        Image.fromarray(image[0]).save(images / f"{number}.png")
    record("g2", 0.5)
    wanted = Predictor("models/g2")(sorted(images.iterdir()))[1]
    fetch = registered.load
    monkeypatch.setattr(registered, "load", None)  # what is here is not fetched
    np.testing.assert_allclose(predicted(images, tmp_path / "a.csv"), wanted, atol=2e-6)
    assert "10 images by g2: " in capsys.readouterr().out
    monkeypatch.setattr(registered, "load", fetch)
    recalibrate("g2", 9.0)  # by which the model here is no longer the one that is registered
    np.testing.assert_allclose(predicted(images, tmp_path / "b.csv"), wanted, atol=1e-5)
    shutil.rmtree("models")
    np.testing.assert_allclose(predicted(images, tmp_path / "c.csv"), wanted, atol=1e-5)
    assert "10 images by g2: " in capsys.readouterr().out
    shutil.rmtree("mlartifacts")
    with pytest.raises(UserError, match=r"lineage-digits version 1: cannot be fetched .* --model"):
        predicted(images, tmp_path / "d.csv")


@pytest.mark.slow
def test_a_study_touches_no_registry(tmp_path, empty_database, monkeypatch):
    from conftest import tiny_values

    from benchmarks import study

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LINEAGE_TRACKING")  # else nothing could be touched by anyone
    shutil.copy(empty_database, "shared.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared.db")
    values = tiny_values()
    values["training"] |= {"steps": 2}
    values["generations"] = {}
    values |= {"meta_pseudo_labels": {}, "baselines": {}, "tasks": {}, "final": "teacher"}
    files.write_json("params.yaml", values)
    monkeypatch.setattr(study, "PROCESSES", 1)
    arms = {"plain": {}}
    made = study.Study("toy", arms, [0], ["val_acc/teacher"], test=False)
    table = study.run(made)
    assert [row["seed"] for row in table] == ["0"]
    assert study.run(made) == table, "a row that stands there is not computed again"
    with open(made.csv, encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == table
    from mlflow import MlflowClient

    client = MlflowClient(tracking.uri())
    names = {experiment.name for experiment in client.search_experiments()}
    assert "lineage-studies" in names and not names & {tracking.PIPELINES, tracking.STAGES}
    assert client.search_registered_models() == []
    assert json.loads(Path("params.yaml").read_text())["report"]["register"] is True
