"""report: its numbers, its tables, the gate, and test images, which only it reads."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import tiny_values, write_params
from stage_mains import MODELS, STAGES, TRAINED, card

from pipeline.commands.show import run as show
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.labelling import pseudo_labels
from pipeline.networks import checkpoint
from pipeline.report import measure
from pipeline.report.answers import Answers
from stages import report


def test_the_report_holds_every_model(chain):
    metrics = files.read_json("report/metrics.json")
    assert all(isinstance(value, (int, float)) for value in metrics.values())
    for name in MODELS:
        assert metrics[f"val_acc/{name}"] == round(card(name)["metrics"]["val_acc"], 6)
        assert 0 <= metrics[f"acc/{name}"] <= 1
    for name in ("g1", "g2"):
        made, _ = pseudo_labels.load(f"data/pseudo_labels/{name}.safetensors")
        truth = store.load("data/prepared/base").array("unlabelled", "truth")
        kept = dict(zip(made.index.tolist(), made.label.tolist()))
        assert metrics[f"pseudo_labels/{name}/rows"] == len(made.index)
        right = np.mean([truth[row] == label for row, label in kept.items()])
        assert metrics[f"pseudo_labels/{name}/accuracy"] == pytest.approx(right, abs=1e-6)
        share = len(kept) / len(truth)
        assert metrics[f"pseudo_labels/{name}/kept_share"] == pytest.approx(share, abs=1e-6)


def test_of_models_round_a_pair_the_unlabelled_images_they_have_right_are_counted(chain):
    metrics, dataset = files.read_json("report/metrics.json"), store.load("data/prepared/base")
    images, truth = (dataset.array("unlabelled", name) for name in ("image", "truth"))
    results = [key.split("/")[1] for key in metrics if key.startswith("unlabelled_acc/")]
    assert results == ["g1", "m1", "m1-teacher"]
    for name in results:
        network, _ = checkpoint.load(f"models/{name}")
        with torch.no_grad():
            said = network.eval()(torch.from_numpy(images.copy())).logits.argmax(1).numpy()
        assert metrics[f"unlabelled_acc/{name}"] == pytest.approx(np.mean(said == truth), abs=1e-6)


def test_the_report_has_its_tables_and_its_page(chain):
    tables = {"models.csv", "curves.csv", "confusion.csv", "pseudo_labels.csv"}
    assert tables <= {p.name for p in (chain / "report/data").iterdir()}
    assert [p.name for p in (chain / "report/html").iterdir()] == ["index.html"]
    with open("report/data/models.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["model"], row["split"]) for row in rows} >= {
        (name, split) for name in MODELS for split in ("val", "test")
    }
    with open("report/data/confusion.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    (ships,) = {row["model"] for row in rows}
    assert ships == files.read_json("report/data/verdict.json")["ships"]
    right = np.mean([row["actual"] == row["predicted"] for row in rows])
    metrics = files.read_json("report/metrics.json")
    assert right == pytest.approx(metrics[f"acc/{ships}"], abs=1e-6)


def test_the_closing_table_has_a_line_a_model(chain, capsys):
    show(None)
    lines = capsys.readouterr().out.splitlines()
    assert [re.split(" {2,}", line)[:2] for line in lines[2:9]] == [
        ["teacher", "labels"],
        ["g1", "teacher"],
        ["g2", "g1"],
        ["m1", "g1 (meta)"],
        ["m1-teacher", "g1 (meta)"],
        ["b1", "labels + fixmatch"],
        ["t1", "g2 + lwf"],
    ]


def test_the_table_of_a_chain_that_has_grown_since_the_report_is_refused(chain):
    values = tiny_values()
    values["generations"]["g3"] = {"teacher": "g2", "network": "small_cnn"}
    write_params(chain, values)
    with pytest.raises(UserError, match=r"report/metrics.json: .*'g3'"):
        show(None)


@pytest.mark.parametrize("stage", TRAINED)
def test_no_stage_before_the_report_reads_test(chain, stage):
    for path in chain.glob("data/prepared/*/test/*.npy"):
        path.unlink()
    STAGES[stage]()


def test_the_report_reads_no_test_when_it_must_not(chain):
    for path in chain.glob("data/prepared/*/test/*.npy"):
        path.unlink()
    with pytest.raises(UserError, match="test/image.npy: no such file"):
        report.main()
    values = tiny_values()
    values["report"]["test"] = False
    write_params(chain, values)
    report.main()
    metrics = files.read_json("report/metrics.json")
    assert "val_acc/g2" in metrics
    assert not any(key.split("/")[0] in {"acc", "task_acc"} for key in metrics)


@pytest.mark.parametrize("better", ["teacher", "g1"])
def test_the_gate_decides_on_val_where_test_says_the_opposite(chain, monkeypatch, better):
    write_params(chain, tiny_values() | {"final": "g1"})
    real = measure.models

    def answering(answers: Answers, right: bool) -> Answers:
        labels = answers.labels if right else (answers.labels + 1) % answers.logits.shape[1]
        return replace(answers, logits=torch.eye(answers.logits.shape[1])[labels])

    def models(*given) -> dict[str, measure.Measured]:
        measured = real(*given)
        for name in ("teacher", "g1"):
            right = {"val": name == better, "test": name != better}
            both = {
                split: answering(measured[name].answers[split], right[split]) for split in right
            }
            measured[name] = replace(measured[name], answers=both)
        return measured

    monkeypatch.setattr(measure, "models", models)
    monkeypatch.setattr(report.page, "write", lambda *_: None)  # its pictures take a second
    report.main()
    assert files.read_json("report/data/verdict.json")["ships"] == better
    metrics = files.read_json("report/metrics.json")
    better_on_test = max("teacher", "g1", key=lambda name: metrics[f"acc/{name}"])
    assert better_on_test != better


def test_the_page_says_what_became_of_the_champion(chain, monkeypatch):
    monkeypatch.setattr(report.tracking, "record_pipeline", lambda *_: "it is version 7")
    report.main()
    page = (chain / "report/html/index.html").read_text(encoding="utf-8")
    assert "it is version 7" in page
