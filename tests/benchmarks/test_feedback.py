"""The study of feedback: its reference against enumeration, and a short run of the whole."""

import pytest
import torch
from pairs import IMAGES, compare, expected_correction, learner, truth_for_hard_labels

from benchmarks import study_feedback
from benchmarks.feedback import (
    BF16_LOSSES,
    CONDITIONS,
    ESTIMATORS,
    OTHER_BATCH,
    Setting,
    measure,
)
from pipeline.data.batches import Part

pytestmark = pytest.mark.slow  # of the benchmarks' own tools

CALM = {"ema": 0.0, "dropout": 0.0, "warmup_steps": 0, "steps": 10**9, "weight_decay": 0.0}


@pytest.fixture
def training(tiny):
    return tiny.training.model_copy(update=CALM)


@pytest.fixture
def batch() -> dict[str, Part]:
    torch.manual_seed(3)
    images = {"labelled": 6, "unlabelled": IMAGES, "weak": IMAGES}
    made = {k: torch.randn(num, 2, 2, 2, dtype=torch.float64) for k, num in images.items()}
    labels = torch.eye(3, dtype=torch.float64)[torch.arange(6) % 3]
    targets = {"labelled": labels, "unlabelled": None, "weak": None}
    return {name: Part(made[name], targets[name], None, None) for name in made}


def rows(pair, batch, setting: Setting, draws: int) -> dict[str, dict[str, float]]:
    """The study's columns by condition."""
    results = measure(pair, batch, 0, [setting], draws)
    return {f.condition: study_feedback.summary([f]) for f in results}


@pytest.mark.parametrize("setting", [Setting(0.1, 0.0), Setting(1.0, 0.0), Setting(1.0, 0.9)])
def test_in_float64_the_loss_difference_is_the_reference(setting, training, batch):
    pair = learner(training, setting.rate, setting.momentum, past=setting.momentum > 0)
    row = rows(pair, batch, setting, 20)["loss_difference"]
    assert [row[k] for k in ("correlation", "cosine", "length")] == pytest.approx([1, 1, 1])
    assert row["sign"] == row["sign_raw"] == 1
    assert rows(pair, batch, setting, 20)["inner_product"]["correlation"] < 0.99999


def test_the_bias_is_that_of_all_labels_enumerated(training, batch):
    """From draws, against the project's own steps on all 3^4 labels."""
    setting = Setting(0.1, 0.9)
    pair = learner(training, *setting, past=True, feedback="inner_product")
    truth = truth_for_hard_labels(pair, batch)
    cosine, length = compare(expected_correction(pair, batch), truth)
    results = {f.condition: f for f in measure(pair, batch, 0, [setting], 300)}
    row = study_feedback.summary([results["inner_product"]])
    assert row["cosine"] == pytest.approx(cosine, abs=0.004) and row["cosine"] < 0.999
    assert row["length"] == pytest.approx(length, rel=0.05)
    mine = results["loss_difference"]
    true = float((mine.gram - mine.noise)[0, 0])
    assert true == pytest.approx(float(truth.square().sum()), rel=0.1)


def test_measuring_leaves_the_pair_as_it_was(training, batch):
    pair = learner(training, 0.1, 0.9, past=True)
    before = {name: value.clone() for name, value in pair.state().items()}
    measure(pair, batch, 0, [Setting(0.5, 0.9)], 3)
    assert all(torch.equal(value, before[name]) for name, value in pair.state().items())


def test_a_short_run(project, monkeypatch):
    """Every condition; the average is that of the learner; mistakes are seen."""
    monkeypatch.setattr(study_feedback, "BATCHES", 2)
    monkeypatch.setattr(study_feedback, "DRAWS", 3)
    monkeypatch.setattr(study_feedback, "RATES", (0.5,))
    with study_feedback.begun(0) as run:
        run.to(4)
        run.freeze()
    average = run.average("loss_difference", 0.99)
    assert average == pytest.approx(float(run.pair.baseline), rel=1e-4)
    table = {(r["momentum"], r["condition"]): r for r in run.rows if r["rate"] == run.pair.rate}
    assert set(table) == {(m, name) for m in (0.9, 0.0) for name in CONDITIONS}
    assert table[0.9, "loss_difference"]["correlation"] > 0.999
    right, rough, other = (table[0.9, n] for n in ("loss_difference", BF16_LOSSES, OTHER_BATCH))
    assert rough["correlation"] < right["correlation"] - 1e-7
    assert other["correlation"] > 0.999 and abs(other["offset"] - right["offset"]) > 0.01
    assert {r["condition"] for r in run.baselines} == set(ESTIMATORS)
