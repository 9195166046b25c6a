"""How good answers to pixels are: mean IoU, its interval, gains, and the gate's test."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score

from pipeline.report import gate, masks
from pipeline.report.dense import DenseAnswers
from pipeline.report.measure import Measured
from pipeline.report.table import closing_table


def answers(quality: float, num: int = 30, seed: int = 0) -> DenseAnswers:
    """Right on about a share `quality` of pixels, of three classes."""
    rng = np.random.default_rng(5)
    labels = torch.from_numpy(rng.integers(0, 3, (num, 6, 7)))
    other = np.random.default_rng(seed)
    right = torch.from_numpy(other.random(labels.shape) < quality)
    said = torch.where(right, labels, torch.from_numpy(other.integers(0, 3, labels.shape)))
    logits = torch.eye(3)[said].movedim(-1, 1) * 4
    images = torch.zeros(num, 1, 6, 7, dtype=torch.uint8)
    return DenseAnswers(images, logits, logits, labels, np.array(["base"] * num))


def measured(of: DenseAnswers) -> Measured:
    return Measured({}, ["background", "a", "b"], {"val": of})


def test_all_images_together_give_the_mean_iou():
    of = answers(0.7)
    said = of.logits.argmax(1)
    wanted = jaccard_score(of.labels.flatten(), said.flatten(), average="macro")
    assert of.value == pytest.approx(wanted)
    each = jaccard_score(of.labels.flatten(), said.flatten(), average=None)
    np.testing.assert_allclose(of.by_class(), each)
    assert of.num_by_class().tolist() == [(of.labels == c).sum() for c in range(3)]
    assert of.accuracy == pytest.approx(float((said == of.labels).double().mean()))


def test_each_image_has_its_own():
    of = answers(0.7)
    said = of.logits.argmax(1)
    wanted = [
        jaccard_score(label.flatten(), answer.flatten(), average="macro")
        for label, answer in zip(of.labels, said)
    ]
    np.testing.assert_allclose(of.scores, wanted)


def test_the_interval_is_about_as_wide_as_of_other_images():
    of = answers(0.7)
    low, high = of.interval
    assert low < of.value < high
    drawn = np.std([answers(0.7, seed=seed).value for seed in range(60)])
    assert 0.5 < (high - low) / (4 * drawn) < 2
    assert of.interval == answers(0.7).interval


def test_a_gain_is_paired_by_images():
    better, worse = answers(0.9, seed=1), answers(0.6, seed=2)
    change, low, high = better.gain(worse)
    assert change == pytest.approx(better.value - worse.value) and 0 < low < change < high
    assert worse.gain(better)[0] == -change
    assert better.gain(answers(0.9, seed=1)) == (0, 0, 0)


def test_pixels_are_rows_for_calibration():
    of = answers(0.7)
    logits, labels = of.rows()
    assert logits.shape == (30 * 42, 3) and logits.dtype == np.float64
    place = 42 * 3 + 7 * 2 + 5
    assert (logits[place] == of.logits[3, :, 2, 5].numpy()).all()
    assert labels[place] == of.labels[3, 2, 5]


def test_the_gate_counts_images_won_and_lost():
    models = {"teacher": measured(answers(0.9, seed=1)), "g1": measured(answers(0.6, seed=2))}
    pairs = gate.compare(["teacher", "g1"], models)
    [pair] = pairs["g1"]
    lost = (models["teacher"].shown.scores > models["g1"].shown.scores).sum()
    assert pair.lost and f"lower on {lost} than that of teacher" in pair.describe()
    verdict = gate.decide(["teacher", "g1"], pairs)
    assert verdict.ships == "teacher" and "sign test" in gate.rule("mean IoU")
    back = gate.decide(["g1", "teacher"], gate.compare(["g1", "teacher"], models))
    assert back.ships == "teacher"


@pytest.mark.parametrize(("keeps", "ships"), [(0.5, "d1"), (0.99, "teacher")])
def test_a_student_ships_where_it_keeps_enough_of_its_teachers_iou(keeps, ships):
    models = {"teacher": measured(answers(0.9, seed=1)), "d1": measured(answers(0.8, seed=2))}
    pairs = gate.compare(["teacher", "d1"], models, {"d1": keeps})
    verdict = gate.decide(["teacher", "d1"], pairs)
    assert (
        verdict.ships == ships and f"of its mean IoU per image ({keeps:.0%} asked)" in verdict.why
    )


def test_the_closing_table_shows_the_mean_iou():
    from pipeline.core.lineage import Entry, Lineage

    lineage = Lineage([Entry("teacher", "teacher", None, "teacher")], "teacher")
    numbers = {"val_acc": 0.9, "val_miou": 0.5, "val_miou_low": 0.4, "val_miou_high": 0.6}
    numbers |= {"miou": 0.45, "acc": 0.8, "num_parameters": 1000}
    metrics = {f"{key}/teacher": value for key, value in numbers.items()}
    shown = closing_table(lineage, metrics, {"sentences": ["teacher ships."]})
    assert "val mIoU (95 %)" in shown and "0.5000 (0.400-0.600)  0.4500" in shown


def test_every_class_is_painted_in_a_colour_of_its_own():
    mask = np.arange(21).reshape(3, 7)
    painted = masks.painted(mask)
    assert painted.shape == (3, 3, 7) and painted.dtype == np.uint8
    colours = {tuple(painted[:, i, j]) for i, j in np.ndindex(3, 7)}
    assert len(colours) == 21 and (painted[:, 0, 0] == 0).all()
    for place, (i, j) in enumerate(np.ndindex(3, 7)):
        red, green, blue = painted[:, i, j]
        assert masks.hexadecimal(place) == f"#{red:02x}{green:02x}{blue:02x}"
