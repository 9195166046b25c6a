"""Every stage on scenes, whose pixels have classes: what each writes, and that every part of it
comes from where it should."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import made_once, same_files, write_params
from faults import set_key
from scenes import CLASSES, SMALL, scene_values
from stage_mains import card

from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.labelling import pseudo_labels
from pipeline.networks import checkpoint, evaluate
from pipeline.predict import Predictor
from pipeline.report.label_quality import label_quality
from pipeline.tracking.record import score_of
from pipeline.training.learner import Learner
from stages import distill, ensemble, prepare, pseudo_label, report, student, teacher

MODELS = ["teacher", "g1", "d1"]


@pytest.fixture(scope="session")
def scenes(tmp_path_factory) -> Path:
    """The chain on scenes, run once."""

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            write_params(folder, scene_values())
            prepare.main()
            teacher.main()
            pseudo_label.main(["g1"])
            student.main(["g1"])
            distill.main(["d1"])
            report.main()

    return made_once(tmp_path_factory, "scenes", make)


@pytest.fixture
def chain_of_scenes(scenes, tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "chain"
    shutil.copytree(scenes, folder)
    monkeypatch.chdir(folder)
    return folder


def val_miou(name: str) -> float:
    """Of a model's own file, by the definition: counted pixel by pixel."""
    network, _ = checkpoint.load(f"models/{name}")
    data = store.load("data/prepared/base")
    said = evaluate.infer(network, data.array("val")).argmax(1).numpy()
    truth = np.array(data.array("val", "label"))
    of = [((said == c) & (truth == c)).sum() / ((said == c) | (truth == c)).sum() for c in range(4)]
    return float(np.mean(of))


@pytest.mark.parametrize("name", MODELS)
def test_a_card_says_what_is_answered_and_how_well(chain_of_scenes, name):
    of = card(name)
    assert of["kind"] == "segmentation"
    assert of["heads"] == [{"task": "base", "classes": ["background", *CLASSES]}]
    assert of["metrics"]["val_miou"] == pytest.approx(val_miou(name), abs=1e-6)
    assert 0.25 < of["metrics"]["val_miou"] < of["metrics"]["val_acc"] <= 1


def test_the_chain_learns_more_than_the_background(chain_of_scenes):
    """Whoever answers `background` alone has a quarter of its share."""
    assert all(val_miou(name) > 0.3 for name in MODELS)


def test_labels_of_pixels_are_the_teachers(chain_of_scenes):
    labels, made = pseudo_labels.load("data/pseudo_labels/g1.safetensors")
    network, _ = checkpoint.load("models/teacher")
    images = store.load("data/prepared/base").array("unlabelled")
    wanted = evaluate.infer(network, images).double().softmax(1).numpy()
    assert labels.probs.shape == (len(images), 4, 16, 16)
    np.testing.assert_allclose(labels.probs, wanted[labels.index], atol=1e-3)
    assert (labels.label == wanted.argmax(1)[labels.index]).all()
    assert made["images_seen"] == len(images)


@pytest.mark.parametrize(
    ("stage", "key", "value"),
    [
        (student, "generations.g1.labels.threshold", 0.6),
        (student, "training.shift", 3),
        (student, "training.num_ops", 0),
        (teacher, "teacher.methods", {"pseudo_label": {"start_step": 0, "ramp_steps": 0}}),
        (teacher, "training.label_smoothing", 0.2),
        (distill, "distilled.d1.images", "labelled"),
    ],
)
def test_params_reach_the_training(chain_of_scenes, stage, key, value):
    name = {student: "g1", teacher: "teacher", distill: "d1"}[stage]
    before = card(name)["sha256"]
    values = scene_values()
    set_key(values, key, value)
    write_params(chain_of_scenes, values)
    if ".labels." in key:
        pseudo_label.main([name])
    stage.main([] if stage is teacher else [name])
    assert card(name)["sha256"] != before


STRUCTURED = {
    "pixel": 1.0,
    "pair": 0.0,
    "patch": 1,
    "holistic": 5.0,
    "layers": ["backbone.layers.2"],
}


def distilled(**structured) -> str:
    if layers := structured.pop("layers", None):
        structured |= {"teacher_layers": layers, "student_layers": layers}
    student = SMALL | {"teacher": "g1", "methods": {"structured": structured}}
    write_params(Path("."), scene_values(distilled={"d1": student}))
    distill.main(["d1"])
    return card("d1")["sha256"]


def test_every_option_of_structured_distillation_does_something(chain_of_scenes):
    plain = distilled()
    assert distilled() == plain
    for key, value in STRUCTURED.items():
        assert distilled(**{key: value}) != plain, key


def test_masks_go_with_their_images(chain_of_scenes, monkeypatch):
    """In every batch the brightest pixels are a digit's, as they are in the scenes."""
    shares, step = [], Learner.step

    def noted(learner, batch):
        part = batch["labelled"]
        shares.append((part.images[:, 0] >= 128, part.targets[:, 1:].sum(1) > 0))
        return step(learner, batch)

    monkeypatch.setattr(Learner, "step", noted)
    values = scene_values()
    values["training"] |= {"labelled_view": "strong", "num_ops": 1, "magnitude": 0, "shift": 3}
    write_params(chain_of_scenes, values)
    teacher.main()
    bright, ink = (torch.cat(part) for part in zip(*shares))
    # Solarize and the like paint some scenes; in the others every bright pixel is of a digit
    of_digits = [(b & i).sum() / b.sum() for b, i in zip(bright, ink) if 0 < b.sum() < 64]
    assert np.mean([float(share) == 1 for share in of_digits]) > 0.7


def test_segmenters_answer_together(chain_of_scenes):
    values = scene_values(ensembles={"e1": {"first": "teacher", "second": "g1"}})
    values["distilled"]["d2"] = SMALL | {"teacher": "e1", "methods": {"kd": {}}}
    write_params(chain_of_scenes, values)
    ensemble.main(["e1"])
    assert card("e1")["kind"] == "segmentation"
    assert card("e1")["metrics"]["val_miou"] == pytest.approx(val_miou("e1"), abs=1e-6)
    distill.main(["d2"])
    assert card("d2")["parents"] == {"e1": card("e1")["sha256"]}


def test_the_best_moment_is_that_of_the_mean_iou(chain_of_scenes, monkeypatch):
    values = scene_values()
    values["training"] |= {"keep": "best", "ema": 0.0}
    write_params(chain_of_scenes, values)
    rows = iter([{"val_acc": 0.9, "val_miou": 0.5}, {"val_acc": 0.8, "val_miou": 0.6}] * 2)
    kept, snapshot = [], Learner.snapshot
    scores = "pipeline.training.fit.scores"
    monkeypatch.setattr(scores, lambda *_: {**next(rows), "val_loss": 1.0})
    monkeypatch.setattr(Learner, "snapshot", lambda s: kept.append(s.num_steps) or snapshot(s))
    teacher.main()
    assert kept == [12, 24]


def test_the_report_goes_by_the_mean_iou(chain_of_scenes):
    metrics = files.read_json("report/metrics.json")
    for name in MODELS:
        assert metrics[f"val_miou/{name}"] == pytest.approx(val_miou(name), abs=1e-6)
        low, high = (metrics[f"val_miou_{end}/{name}"] for end in ("low", "high"))
        assert low < metrics[f"val_miou/{name}"] < high
        assert metrics[f"miou/{name}"] != metrics[f"acc/{name}"]
        assert f"val_acc_low/{name}" not in metrics
    page = Path("report/html/index.html").read_text()
    assert "mean IoU" in page and 'id="masks"' in page and 'id="gallery"' not in page
    assert "one-sided sign test" in page and "McNemar" not in page and "Wilson" not in page
    verdict = json.loads(Path("report/data/verdict.json").read_text())
    assert "its mean IoU is higher on" in verdict["sentences"][0]


def test_the_quality_of_labels_is_that_of_the_pixels_kept(chain_of_scenes):
    values = scene_values()
    values["labels"]["threshold"] = 0.6
    write_params(chain_of_scenes, values)
    pseudo_label.main(["g1"])
    labels, _ = pseudo_labels.load("data/pseudo_labels/g1.safetensors")
    truth = store.load("data/prepared/base").truth()[labels.index]
    kept = labels.label != 255
    assert 0 < kept.mean() < 1
    quality = label_quality("g1")
    assert quality.unit == "pixel" and quality.images.sum() == quality.num_known == kept.sum()
    assert quality.accuracy == pytest.approx((labels.label == truth)[kept].mean())
    assert (quality.per_class == quality.images).all()


def test_the_champion_goes_by_the_mean_iou():
    assert score_of("g", {"val_acc/g": 0.9, "val_miou/g": 0.5}) == 0.5
    assert score_of("g", {"val_acc/g": 0.9, "val_miou/f": 0.5}) == 0.9


def test_a_report_is_the_same_again(chain_of_scenes):
    shutil.move("report", "before")
    report.main()
    same_files(Path("before/data"), Path("report/data"))
    assert files.sha256("before/metrics.json") == files.sha256("report/metrics.json")


def test_predict_is_for_whole_images(chain_of_scenes):
    with pytest.raises(UserError, match="'d1' answers each pixel"):
        Predictor("models/d1")
