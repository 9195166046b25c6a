"""Unlabelled images that nobody knows and no test images: the report says so and goes on."""

import json
import re

import numpy as np
import pytest

from pipeline.commands.show import run as show
from pipeline.core import files
from pipeline.data import store
from pipeline.labelling import pseudo_labels
from pipeline.params.check import load
from stages import report


def saved_again(task: str, unknown: np.ndarray | None = None, drop: str = "") -> None:
    """The data set of a task as it is, with some unlabelled images' truth unknown, without a
    split."""
    dataset = store.load(store.PREPARED / task)
    splits = [split for split in store.SPLITS if split != drop]
    labels = {s: dataset.array(s, "label").copy() for s in splits if s != "unlabelled"}
    labels["unlabelled"] = dataset.truth().copy()
    if unknown is not None:
        labels["unlabelled"][unknown] = -1
    findings = (dataset.folder / "findings.json").read_bytes()
    store.save(
        dataset.folder,
        np.concatenate([dataset.array(split) for split in splits]),
        np.concatenate([labels[split] for split in splits]),
        np.repeat(splits, [dataset.num(split) for split in splits]),
        classes=dataset.classes,
        path=[path for split in splits for path in dataset.paths(split)],
        sha256=[""] * sum(dataset.num(split) for split in splits),
    )
    (dataset.folder / "findings.json").write_bytes(findings)


@pytest.fixture
def measured(chain, capsys):
    """The folder of the chain, and its page as text, once all of this is gone."""
    for task in ("base", "t1"):
        saved_again(task, unknown=np.s_[:], drop="test")
    report.main()
    assert "nan" not in capsys.readouterr().out
    return chain, (chain / "report/html/index.html").read_text(encoding="utf-8")


def test_nothing_is_compared_with_a_truth_or_a_test_that_is_not_there(measured, capsys):
    folder, page = measured
    metrics = json.loads((folder / "report/metrics.json").read_text(), parse_constant=pytest.fail)
    names = {key.split("/")[0] for key in metrics}
    assert names >= {"val_acc", "pseudo_labels", "confidence_gap", "val_task_acc"}
    assert not names & {"acc", "unlabelled_acc", "task_acc", "forgetting"}
    assert not [key for key in metrics if key.endswith("/accuracy")]
    words = " ".join(re.sub(r"<[^>]+>", " ", page[page.index("<body>") :]).split())
    assert "There are no test images." in words
    assert "whether they are right is not known" in words
    assert re.search(r"\bg1 teacher [\d.]+.% not known \d+", words)
    assert re.search(r"m1 student loss_difference [\d.]+.% not known", words)
    assert not re.search(r"\b(nan|NaN|None|inf)\b", words)
    for name in ("models", "pseudo_labels", "confusion", "curves"):
        text = (folder / f"report/data/{name}.csv").read_text()
        assert "nan" not in text and ",test," not in text
    show(None)
    said = capsys.readouterr().out
    assert said.count("none\n") == 7 and "not read" not in said and "nan" not in said


def test_what_is_known_of_some_is_said_of_these(chain):
    dataset = store.load(store.PREPARED / "base")
    truth, unknown = dataset.truth().copy(), np.arange(dataset.num("unlabelled")) % 4 > 0
    saved_again("base", unknown)
    made = report.results(report.experiment(load()))
    for name in ("g1", "g2"):
        labels, _ = pseudo_labels.load(f"data/pseudo_labels/{name}.safetensors")
        kept = dict(zip(labels.index.tolist(), labels.label.tolist()))
        known = [row for row in kept if not unknown[row]]
        assert made.quality[name].num_known == len(known) < len(kept)
        right = np.mean([truth[row] == kept[row] for row in known])
        assert made.metrics[f"pseudo_labels/{name}/accuracy"] == pytest.approx(right, abs=1e-6)
        share = len(kept) / len(truth)
        assert made.metrics[f"pseudo_labels/{name}/kept_share"] == pytest.approx(share, abs=1e-6)
    section = report.page.SECTIONS["meta-pseudo-labels"][1](made)
    assert section["known"] == (~unknown).sum()


def test_test_images_of_every_task_are_needed_to_read_test(chain):
    saved_again("t1", drop="test")
    made = report.results(report.experiment(load()))
    assert {model.split for model in made.measured.values()} == {"val"}


def test_what_is_known_of_confidence_is_in_the_metrics(chain):
    metrics = files.read_json("report/metrics.json")
    for name in ("g1", "g2"):
        _, metadata = pseudo_labels.load(f"data/pseudo_labels/{name}.safetensors")
        val, unlabelled = (np.array(metadata["confidence"][s]) for s in ("val", "unlabelled"))
        gap = metrics[f"confidence_gap/{name}"]
        assert gap == pytest.approx(np.max(val - unlabelled), abs=1e-6)
