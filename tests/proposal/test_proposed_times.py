"""Seconds of stages are sums that a person can do."""

import pytest
from conftest import real_values

from pipeline.params.schema import Params
from pipeline.proposal import times
from pipeline.proposal.rehearsal import Pace
from pipeline.proposal.times import Counts, Speed

SPEED = Speed(2.0, 0.01, Pace({"teacher": 0.1, "g1": 0.2, "g2": 0.3, "g3": 0.4}, 0.001, 0.005))
COUNTS = Counts(files=1_000, val=50, test=70, unlabelled=800)


def three_generations() -> dict:
    """By labels alone, and of 400 steps."""
    values = real_values()
    values["training"]["steps"] = 400
    values["teacher"] = {"network": "small_cnn"}
    taught = {"g1": "teacher", "g2": "g1", "g3": "g2"}
    values["generations"] = {n: {"teacher": t, "network": "small_cnn"} for n, t in taught.items()}
    return values


@pytest.fixture
def params(monkeypatch) -> Params:
    monkeypatch.setenv("LINEAGE_THREADS", "5")
    return Params.model_validate(three_generations())


def test_every_stage_is_what_it_does(params):
    made = times.stages(params, COUNTS, SPEED)
    evaluations = 5 * 50 * 0.001  # 400 steps, every 100, and at the end
    assert list(made) == [
        "prepare",
        "teacher",
        *(f"{stage}@g{n}" for n in (1, 2, 3) for stage in ("pseudo_label", "student")),
        "report",
        "DVC",
    ]
    assert made["prepare"] == pytest.approx(2 + 1_000 * 0.01 / 5)  # five cores
    assert made["teacher"] == pytest.approx(2 + 400 * 0.1 + evaluations)
    assert made["student@g2"] == pytest.approx(2 + 400 * 0.3 + evaluations)
    assert made["pseudo_label@g3"] == pytest.approx(2 + 850 * 0.001)
    assert made["report"] == pytest.approx(10 + 120 * 4 * 0.005)
    assert made["DVC"] == 4


def test_transforms_and_test_images_count(params):
    values = three_generations()
    values["labels"]["transforms"] = ["identity", "flip"]
    values["report"]["test"] = False
    made = times.stages(Params.model_validate(values), COUNTS, SPEED)
    assert made["pseudo_label@g1"] == pytest.approx(2 + 2 * 850 * 0.001)
    assert made["report"] == pytest.approx(10 + 50 * 4 * 0.005)
