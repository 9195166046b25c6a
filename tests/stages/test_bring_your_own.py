"""The examples of docs/bring_your_own.md run as they stand."""

import csv
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, tiny_values, write_params

from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.labelling import pseudo_labels
from pipeline.networks import NETWORKS, checkpoint
from pipeline.networks.architecture import Architecture
from stages import report, student

PAGE = (ROOT / "docs/bring_your_own.md").read_text("utf-8")


def example(heading: str) -> dict:
    """The names that the code under a heading defines."""
    [code] = re.findall(
        r"^```python\n(.*?)^```", PAGE.split(f"## {heading}")[1].split("\n## ")[0], re.M | re.S
    )
    made = types.ModuleType("example")
    exec(compile(code, heading, "exec"), made.__dict__)
    return made.__dict__


@pytest.fixture
def answers(chain):
    """A table of random answers to the unlabelled images, in another order."""
    dataset = store.load("data/prepared/base")
    paths = dataset.paths("unlabelled")
    probs = np.random.default_rng(0).dirichlet(np.ones(len(dataset.classes)), len(paths))
    with open("data/answers.csv", "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", *reversed(dataset.classes)])
        for path, row in sorted(zip(paths, probs.tolist()), reverse=True):
            rows.writerow([path, *reversed(row)])
    return dict(zip(paths, probs))


def test_labels_from_a_table_are_learnt_from(answers, chain):
    values = tiny_values() | {"tasks": {}, "meta_pseudo_labels": {}, "final": "g1"}
    del values["generations"]["g2"]
    values["labels"] |= {"share": 1.0, "balance": "none"}
    write_params(chain, values)
    example("Labels from elsewhere")["main"](["g1", "data/answers.csv"])
    labels, made_from = pseudo_labels.load("data/pseudo_labels/g1.safetensors")
    paths = store.load("data/prepared/base").paths("unlabelled")
    for row, probs in zip(labels.index.tolist(), labels.probs):
        np.testing.assert_allclose(probs, answers[paths[row]], atol=1e-3)
    assert len(set(labels.index.tolist())) == len(paths)
    student.main(["g1"])
    table = {"data/answers.csv": files.sha256("data/answers.csv")}
    assert checkpoint.read_card("models/g1")["parents"] == table
    assert made_from["table"]["name"] == "data/answers.csv"
    report.main()


def test_a_table_that_lacks_an_image_is_no_silent_hole(answers):
    table = Path("data/answers.csv")
    table.write_text("\n".join(table.read_text("utf-8").splitlines()[:-1]), "utf-8")
    with pytest.raises(KeyError):
        example("Labels from elsewhere")["main"](["g1", "data/answers.csv"])


def test_labels_of_another_teacher_are_still_refused(chain):
    labels, made_from = pseudo_labels.load("data/pseudo_labels/g1.safetensors")
    made_from["teacher"]["sha256"] = "0" * 64
    rest = {k: v for k, v in made_from.items() if k not in ("schema", "kind")}
    pseudo_labels.save("data/pseudo_labels/g1.safetensors", labels, **rest)
    with pytest.raises(UserError, match="made with other teacher's weights"):
        student.main(["g1"])


def test_the_network_is_a_backbone_like_any_other(monkeypatch):
    build = example("A network")["pooled"]
    monkeypatch.setitem(NETWORKS, "pooled", Architecture(build))
    card = {"name": "x", "network": {"name": "pooled", "width": 0.5, "stochastic_depth": 0.0}}
    card["network"] |= {"dropout": 0.0, "image_size": 0}
    card |= {"heads": [{"task": "base", "classes": ["a", "b"]}], "image_shape": [3, 8, 8]}
    card |= {"normalisation": {"mean": [0.5] * 3, "std": [0.2] * 3}}
    made = checkpoint.build(card)(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    assert made.logits.shape == (2, 2) and made.features.shape == (2, 32)
    assert "example" not in sys.modules
