"""Accuracy against cost, of arms of several models."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import study_lineage
from benchmarks.learning_curves import along, draw_curves
from benchmarks.lineage_arms import METHODS, baseline, lineage
from benchmarks.lineage_grounds import digits
from benchmarks.search import NAME, Chosen, Search
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
    # the first model is in hand until the second one is trained to its end
    assert list(curve.accuracy) == [0.2, 0.4, 0.4, 0.4, 0.4, 0.7]


@pytest.mark.parametrize(("cost", "accuracy"), [(499, 0), (500, 0.2), (1999, 0.4), (9999, 0.5)])
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
    assert second == "| two | 50.0 | 60.0 | 60.0 | 80.0 | 0.0 | 50.0 | 50.0 | 60.0 |"


def test_a_picture_is_drawn(tmp_path):
    curves = {
        "one": [along(row([0.1, 0.2]), ["m0"])],
        "two": [along(row([0.5], [0.7]), ["m0", "m1"])],
    }
    draw_curves(tmp_path / "curves.png", curves)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_claim_reads_test_and_keeps_a_curve_and_costs_of_every_model():
    ground = digits()
    arms = {
        "uda": baseline(ground, "uda", NAME, {}),
        "lineage": lineage(ground, "uda", {}, NAME, {}),
    }
    study = claim(ground, arms)
    assert list(study.arms) == ["uda", "lineage"] and study.seeds == ground.claims
    steps = arms["uda"]["baselines"][NAME]["training"]["steps"]
    assert arms["uda"]["baselines"][NAME]["training"]["evaluate_every"] == steps
    values = study.values("uda", 700)
    made = values["baselines"][NAME]["training"]
    assert made["steps"] == steps and made["evaluate_every"] == steps // study_lineage.POINTS
    assert values["report"]["test"] and values["final"] == NAME and values["generations"] == {}
    assert set(study.values("lineage", 700)["baselines"]) == {f"{NAME}-teacher"}
    each = ("curve", "images_seen", "cpu_seconds")
    wanted = {f"{what}/{name}" for what in each for name in (f"{NAME}-teacher", NAME)}
    assert {f"acc/{NAME}", f"val_acc/{NAME}"} | wanted == set(study.columns)


ARMS = {
    "uda": {"baselines": {NAME: {}}},
    "lineage": {"baselines": {"m0": {}}, "generations": {NAME: {}}},
}


def claimed(arm: str, accuracy: float) -> dict[str, str]:
    """A row of an arm of `ARMS`."""
    models = [name for named in ARMS[arm].values() for name in named]
    made = {f"acc/{NAME}": str(accuracy), f"val_acc/{NAME}": str(accuracy / 2)}
    for key, value in row(*[[accuracy]] * len(models)).items():
        what, name = key.split("/m")
        made[f"{what}/{models[int(name)]}"] = value
    return made


def test_a_table_compares_seed_by_seed_and_adds_up_what_an_arm_costs():
    rows = {
        "uda": {"1": claimed("uda", 0.5), "2": claimed("uda", 0.7)},
        "lineage": {
            seed: claimed("lineage", a) for seed, a in {"1": 0.6, "2": 0.8, "3": 0.1}.items()
        },
    }
    *_, uda, own = study_lineage.table(rows, ARMS).splitlines()
    assert uda == "| uda | 2 | 60.0 ± 127.1 | 30.0 ± 63.5 | +10.0 ± 0.0 | 1.0 | 0.50 |"
    assert own.startswith("| lineage | 3 | 50.0 ± ") and own.endswith(" |  | 3.0 | 1.00 |")


def test_a_lineage_with_mixup_is_what_others_are_compared_with():
    rows = {
        arm: {seed: claimed("uda", accuracy) for seed in "12"}
        for arm, accuracy in {"uda": 0.5, "lineage": 0.6, "lineage mixup": 0.8}.items()
    }
    table = study_lineage.table(rows, dict.fromkeys(rows, ARMS["uda"]))
    assert "| lineage mixup - it, test |" in table
    assert [line.split(" | ")[4] for line in table.splitlines()[2:]] == [
        "+30.0 ± 0.0",
        "+20.0 ± 0.0",
        "",
    ]


def test_every_seed_of_an_arm_has_a_curve():
    rows = {
        "uda": {"1": claimed("uda", 0.5), "2": claimed("uda", 0.7)},
        "lineage": {"2": claimed("lineage", 0.8)},
    }
    drawn = study_lineage.curves(rows, ARMS)
    assert [list(curve.accuracy) for curve in drawn["uda"]] == [[0.5], [0.7]]
    assert [list(curve.accuracy) for curve in drawn["lineage"]] == [[0.8, 0.8]]


def test_what_the_claim_is_about_runs_first_and_others_on_fewer_seeds(monkeypatch):
    asked = []

    def run(study):
        asked.append((list(study.arms), list(study.seeds)))
        return [{"arm": arm, "seed": "700"} for arm in study.arms]

    monkeypatch.setattr(study_lineage, "run", run)
    ground = replace(digits(), claims=range(700, 709), of_others=2)
    arms = {
        name: baseline(ground, "uda", NAME, {})
        for name in ("uda", "lineage", "meta", "refined", "supervised", "uda mixup")
    }
    rows = study_lineage.claims(ground, arms)
    first = ["uda", "lineage", "meta", "refined", "uda mixup"]
    assert asked == [(first, list(range(700, 709))), (["supervised"], [700, 701])]
    assert list(rows) == list(arms)
    for name in ("refined", "supervised"):
        assert rows[name] == {"700": {"arm": name, "seed": "700"}}


MIXES = ["uda", "fixmatch", "flexmatch", "freematch", "softmatch"]


@pytest.mark.parametrize("better", [True, False])
def test_every_arm_is_tuned_and_a_method_that_is_not_refined_stands_once(monkeypatch, better):
    rounds = []

    def choose(self, arms):
        rounds.append(list(arms))
        keys = {"refined": {"training.learning_rate": 0.3}} if better else {}
        scores = {"softmatch": 0.9, "supervised": 0.8}
        keys |= {name: arm.candidates[0] for name, arm in arms.items() if "mixup" in name}
        return {name: Chosen(keys.get(name, {}), scores.get(name, 0.5)) for name in arms}

    monkeypatch.setattr(Search, "choose", choose)
    arms = study_lineage.tuned(digits())
    second = ["lineage", "meta", *["refined"] * better]
    others = [name for name in METHODS if name != "softmatch"]
    assert rounds == [
        list(METHODS),
        ["lineage", "meta", "refined"],
        ["lineage refined", "meta refined"],
        [f"{name} mixup" for name in [*MIXES, *second]],
    ]
    assert list(arms) == ["softmatch", *second, *others, "softmatch mixup", "lineage mixup"]
    assert arms["softmatch mixup"]["baselines"][NAME]["methods"] == {"softmatch": {"mixup": 0.2}}
    assert arms["softmatch"]["baselines"][NAME]["methods"] == {"softmatch": {}}
    assert "softmatch" in arms["lineage"]["baselines"][f"{NAME}-teacher"]["methods"]
    if better:
        assert arms["refined"]["baselines"][NAME]["training"]["learning_rate"] == 0.3
