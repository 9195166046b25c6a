"""The clean training at the end; the resolution inside the network; where a student begins."""

import numpy as np
import pytest
import torch
from conftest import read_curves, run_stages, tiny_values, write_params
from jobs import job, spy_on_fits
from torch.nn import functional as F

from pipeline.networks import checkpoint
from pipeline.networks.classifier import Classifier
from pipeline.networks.small_cnn import SmallCNN
from pipeline.running.tracker import NullTracker
from pipeline.students.learn import begin, describe, learn
from pipeline.training import fine_tune
from pipeline.training.learner import Learner
from pipeline.training.recipe import FineTune
from stages import pseudo_label, student

OFF = {"meta_pseudo_labels": {}, "baselines": {}, "tasks": {}}
TUNE = {"steps": 10, "learning_rate": 0.01, "image_size": 12}


def project(folder, monkeypatch, **teacher):
    monkeypatch.chdir(folder)
    values = tiny_values() | OFF | {"generations": {}, "final": "teacher"}
    values["teacher"] |= teacher
    write_params(folder, values)
    return values


def test_the_recipe_of_the_end_is_the_same_without_noise(tiny):
    results = fine_tune.recipe(tiny.training, FineTune(**TUNE))
    changed = {
        k for k in type(results).model_fields if getattr(results, k) != getattr(tiny.training, k)
    }
    assert changed <= {"steps", "learning_rate", "warmup_steps", "image_size", "dropout"}
    assert (results.dropout, results.stochastic_depth, results.warmup_steps) == (0, 0, 0)


def test_a_fine_tuned_model_says_so_and_goes_on_from_the_noisy_one(tmp_path, monkeypatch):
    plain = tmp_path / "plain"
    tuned = tmp_path / "tuned"
    plain.mkdir(), tuned.mkdir()
    project(plain, monkeypatch)
    run_stages("prepare", "teacher")
    project(tuned, monkeypatch, fine_tune=TUNE)
    run_stages("prepare", "teacher")
    before, after = (checkpoint.read_card(f / "models/teacher") for f in (plain, tuned))
    assert before["network"]["image_size"] == 0 and after["network"]["image_size"] == 12
    assert after["images_seen"] == before["images_seen"] + 10 * 8
    rows = [read_curves(f / "models/teacher/curves.csv") for f in (plain, tuned)]
    assert [row["step"] for row in rows[1]] == ["8", "16", "24", "32", "34"]
    assert [r["loss"] for r in rows[1][:3]] == [r["loss"] for r in rows[0]]
    one, _ = checkpoint.load(plain / "models/teacher")
    two, _ = checkpoint.load(tuned / "models/teacher")
    pairs = list(zip(one.state_dict().values(), two.state_dict().values()))
    moved = [float((a - b).norm() / a.norm()) for a, b in pairs if a.ndim > 1]
    assert 0 < max(moved) < 0.5


def test_it_sees_labelled_images_in_the_weak_view_alone(tmp_path, monkeypatch):
    project(tmp_path, monkeypatch, fine_tune=TUNE)
    run_stages("prepare")
    seen = []

    def note(learner, streams, _):
        seen.append((learner.training, {k: type(s.view).__name__ for k, s in streams.items()}))

    spy_on_fits(monkeypatch, note)
    learn(job("teacher"))
    assert [views for _, views in seen] == [{"labelled": "StrongView"}, {"labelled": "WeakView"}]
    assert [recipe.dropout for recipe, _ in seen] == [0.3, 0.0]


@pytest.mark.parametrize("phase", ["teacher", "teacher.fine_tune"])
def test_an_interruption_in_either_phase_changes_no_byte(tmp_path, monkeypatch, phase):
    folders = [tmp_path / "whole", tmp_path / "cut"]
    for folder in folders:
        folder.mkdir()
        project(folder, monkeypatch, fine_tune=TUNE)
        run_stages("prepare")
        if folder.name == "cut":
            monkeypatch.setenv("LINEAGE_CHECKPOINT_SECONDS", "0.000001")
            real = Learner.step

            def fails(self, batch, real=real):
                if self.num_steps == 3 and bool(self.training.dropout) == (phase == "teacher"):
                    raise KeyboardInterrupt
                return real(self, batch)

            with monkeypatch.context() as patch:
                patch.setattr(Learner, "step", fails)
                with pytest.raises(KeyboardInterrupt):
                    run_stages("teacher")
            assert list((folder / ".lineage/resume").glob(f"{phase}-*/step-*"))
        run_stages("teacher")
    one, two = (folder / "models/teacher/model.safetensors" for folder in folders)
    assert one.read_bytes() == two.read_bytes()
    assert not list((folders[1] / ".lineage/resume").glob("*/step-*"))


def test_the_network_resizes_what_it_is_given():
    torch.manual_seed(0)
    small = Classifier(SmallCNN(3, 0.25), {"a": 2}, [0.5] * 3, [0.2] * 3, image_size=8).eval()
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    resized = F.interpolate(images.float() / 255, (8, 8), mode="bilinear", antialias=True)
    with torch.no_grad():
        assert torch.equal(small(images).logits, small(resized).logits)
        small.image_size = 0
        assert torch.equal(small(resized).logits, small(resized).logits)
        assert not torch.allclose(small(images).logits, small(resized).logits)


def test_a_student_may_begin_where_its_teacher_is(tmp_path, monkeypatch):
    project(tmp_path, monkeypatch)
    values = tiny_values() | OFF | {"final": "g1"}
    first = values["generations"]["g1"]
    values["generations"] = {"g1": first, "g2": first | {"init": "teacher"}}
    write_params(tmp_path, values)
    run_stages("prepare", "teacher")
    teacher, _ = checkpoint.load("models/teacher")
    begun = {}
    for name in ("g1", "g2"):
        made = job(name)
        network, _ = begin(made, describe(made, unlabelled=True))
        begun[name] = network.state_dict()
    equal = {
        name: all(torch.equal(v, begun[name][k]) for k, v in teacher.state_dict().items())
        for name in begun
    }
    assert equal == {"g1": False, "g2": True}


def test_images_may_be_seen_smaller_than_they_are_stored(tmp_path, monkeypatch):
    values = project(tmp_path, monkeypatch, training={"image_size": 6})
    assert values["teacher"]["training"] == {"image_size": 6}
    run_stages("prepare", "teacher", "report")
    card = checkpoint.read_card("models/teacher")
    assert card["network"]["image_size"] == 6 and card["image_shape"] == [1, 8, 8]
    assert checkpoint.pixels(card) == 36 and np.isfinite(card["metrics"]["val_loss"])


def test_the_report_takes_a_student_whose_clean_end_lacks_a_loss(tmp_path, monkeypatch):
    """The pseudo-labelled loss ends with the noisy training: its later cells are empty."""
    monkeypatch.chdir(tmp_path)
    values = tiny_values() | OFF | {"final": "g1"}
    values["generations"] = {"g1": values["generations"]["g1"] | {"fine_tune": TUNE}}
    write_params(tmp_path, values)
    run_stages("prepare", "teacher")
    for stage in (pseudo_label, student):
        stage.main(["g1"])
    run_stages("report")
    rows = [row for row in read_curves(tmp_path / "report/data/curves.csv") if row["model"] == "g1"]
    steps = {name: [r["step"] for r in rows if r["curve"] == name] for name in ("pseudo", "loss")}
    assert steps == {"pseudo": ["8", "16", "24"], "loss": ["8", "16", "24", "32", "34"]}


def test_the_tracker_gets_the_clean_end_behind_the_noisy_training(tmp_path, monkeypatch):
    project(tmp_path, monkeypatch, fine_tune=TUNE)
    run_stages("prepare")
    steps = []

    class Tracker(NullTracker):
        def metrics(self, metrics, step=0):
            steps.append(step)

    learn(job("teacher", Tracker()))
    assert steps == [8, 16, 24, 32, 34]
