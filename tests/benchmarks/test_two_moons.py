"""The two-moons toy: every arm runs, and Meta Pseudo Labels finds the moons."""

import numpy as np
import pytest
import torch

from benchmarks import tune_moons, two_moons
from benchmarks.two_moons import Moons

MPL = "Meta Pseudo Labels"


def test_the_sets_of_points_are_apart_and_three_of_each_moon_are_labelled():
    test, val = Moons(0), Moons(0, "val")
    assert test.label.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(test.unlabelled, val.unlabelled)
    sets = [test.labelled, test.unlabelled, val._asked, test._asked]
    assert [len(points) for points in sets] == [6, 1000, 1000, 1000]
    assert len(torch.cat(sets).unique(dim=0)) == 3006


@pytest.mark.parametrize("flags", [[], ["--feedback"]])
def test_a_few_steps_give_a_table_and_a_picture(flags, tmp_path, capsys):
    out = tmp_path / "moons.png"
    table = two_moons.main([*flags, "--seeds", "2", "--steps", "3", "--out", str(out)])
    assert all(len(results) == 2 and min(results) >= 0 for results in table.values())
    assert len(capsys.readouterr().out.splitlines()) == len(table) + (1 if flags else 2)
    assert out.exists() == (not flags)


def test_a_teacher_that_has_no_labels_learns_of_them_by_feedback_alone():
    """Without it, nothing that it trains on depends on them."""
    moons, flipped = Moons(0), Moons(0)
    flipped.label = 1 - flipped.label
    toy = two_moons.Toy(steps=5, consistency=0.0)
    for feedback, hears in (("loss_difference", True), ("none", False)):
        answers = [
            two_moons.says(
                two_moons.pair(toy, points, 0, feedback, labelled_loss=False)[1],
                moons.unlabelled,
            )
            for points in (moons, flipped)
        ]
        assert torch.equal(*answers) != hears


@pytest.mark.slow
def test_meta_pseudo_labels_finds_the_moons_where_labels_alone_do_not(tmp_path):
    table = two_moons.main(["--seeds", "2", "--out", str(tmp_path / "moons.png")])
    assert min(table[MPL]) >= 0.95
    assert all(ours > theirs for ours, theirs in zip(table[MPL], table["labels alone"]))


def test_settings_that_gain_most_by_feedback_are_tried_on_more_draws(monkeypatch, capsys):
    drawn = tune_moons.draw(tune_moons.SPACE, tune_moons.SETTINGS, "moons")
    asked = []

    def gains(keys, seeds):
        asked.append((drawn.index(keys), seeds))
        return np.full((len(seeds), 2), 0.5) + [[0.01 * drawn.index(keys), 0.0]]

    monkeypatch.setattr(tune_moons, "gains", gains)
    tune_moons.main()
    num, best = len(drawn), tune_moons.BEST
    first = [(number, tune_moons.FIRST) for number in range(num)]
    more = [(number, tune_moons.MORE) for number in range(num - 1, num - 1 - best, -1)]
    assert asked == first + more
    assert capsys.readouterr().out.splitlines()[2].startswith("2: 52.0 50.0 +2.0 ± 0.0, 4 seeds")


def test_a_setting_is_of_the_small_network_with_feedback_and_without():
    keys = {"steps": 40, "rate": 0.1, "scale": "sum", "activation": "Tanh", "consistency": 0.0}
    table = tune_moons.gains(keys, [1000, 1001])
    assert table.shape == (2, 2) and (table[:, 0] != table[:, 1]).any()
    backbone = two_moons.network(two_moons.Toy(units=8, activation="Tanh"), 0, "x").backbone
    assert backbone.num_features == 8 and isinstance(backbone.layers[2], torch.nn.Tanh)
