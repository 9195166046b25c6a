"""Accuracy against cost, of arms of several models."""

import json

import numpy as np
import pytest

from benchmarks import study_lineage
from benchmarks.learning_curves import along, draw_curves
from benchmarks.lineage_arms import baseline, digits, lineage
from benchmarks.study_lineage import claim, on_the_way


def row(*accuracies: list[float]) -> dict[str, str]:
    """Models m0, m1, ... of as many evaluations, 100 steps and 30 CPU-seconds each; m1 sees
    2,000 images, m0 1,000."""
    made = {}
    for number, values in enumerate(accuracies):
        steps = [100.0 * (1 + n) / len(values) for n in range(len(values))]
        made[f"curve/m{number}"] = json.dumps({"step": steps, "val_acc": values})
        made[f"images_seen/m{number}"] = str(1000 * (1 + number))
        made[f"cpu_seconds/m{number}"] = "30"
    return made


def test_costs_add_up_over_the_models_of_an_arm():
    curve = along(row([0.2, 0.4], [0.3, 0.5, 0.6, 0.7]), ["m0", "m1"])
    assert list(curve.images) == [500, 1000, 1500, 2000, 2500, 3000]
    assert list(curve.minutes) == pytest.approx([0.25, 0.5, 0.625, 0.75, 0.875, 1.0])
    assert list(curve.accuracy) == [0.2, 0.4, 0.3, 0.5, 0.6, 0.7]


@pytest.mark.parametrize(("cost", "accuracy"), [(499, 0), (500, 0.2), (1999, 0.3), (9999, 0.5)])
def test_accuracy_at_a_cost_is_the_last_one_measured(cost, accuracy):
    curve = along(row([0.2, 0.4], [0.3, 0.5]), ["m0", "m1"])
    curve = curve._replace(images=np.array([500.0, 1000.0, 1500.0, 2000.0]))
    assert curve.at(curve.images, cost) == accuracy


def test_arms_are_compared_at_parts_of_the_images_and_of_the_least_minutes():
    one = [along(row([0.1, 0.2, 0.3, 0.4]), ["m0"])] * 2
    two = [along(row([0.5, 0.6], [0.7, 0.8]), ["m0", "m1"])]
    *_, first, second = on_the_way({"one": one, "two": two}).splitlines()
    # at 750, 1500, 2250, 3000 images; at 7.5, 15, 22.5, 30 seconds
    assert first == "| one | 30.0 | 40.0 | 40.0 | 40.0 | 10.0 | 20.0 | 30.0 | 40.0 |"
    assert second == "| two | 50.0 | 60.0 | 70.0 | 80.0 | 0.0 | 50.0 | 50.0 | 60.0 |"


def test_a_picture_is_drawn(tmp_path):
    curves = {
        "one": [along(row([0.1, 0.2]), ["m0"])],
        "two": [along(row([0.5], [0.7]), ["m0", "m1"])],
    }
    draw_curves(tmp_path / "curves.png", curves)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_claim_reads_test_and_keeps_a_curve_and_costs_of_every_model():
    ground = digits()
    arms = {"uda": baseline(ground, "uda", "uda", {})}
    arms["lineage"] = lineage(ground, "uda", {}, "lineage", {})
    study = claim(ground, arms)
    steps = arms["uda"]["baselines"]["uda"]["training"]["steps"]
    assert arms["uda"]["baselines"]["uda"]["training"]["evaluate_every"] == steps
    values = study.values("default", 700)
    made = values["baselines"]["uda"]["training"]
    assert made["steps"] == steps and made["evaluate_every"] == steps // study_lineage.POINTS
    assert values["report"]["test"] and values["final"] == "lineage"
    for name in ("uda", "lineage-teacher", "lineage"):
        assert {f"{w}/{name}" for w in ("curve", "images_seen", "cpu_seconds")} <= set(
            study.columns
        )
    assert {"acc/uda", "acc/lineage", "val_acc/uda"} <= set(study.columns)
