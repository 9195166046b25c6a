"""What reaches the network in a real training of a teacher or a student: which images, in which
view, with which weight."""

from __future__ import annotations

import pytest
import torch
from conftest import STEPS, read_curves, tiny_values, write_params
from jobs import job, spy_on_fits
from torch import Tensor

from pipeline.data import store
from pipeline.labelling import pseudo_labels
from pipeline.networks import checkpoint
from pipeline.students.learn import learn
from pipeline.training.fine_tune import recipe
from pipeline.training.learner import Learner
from pipeline.training.optimizer import learning_rate
from stages import teacher

UDA = {"uda": {"threshold": 0.0}}


class Steps:
    """The batches of a training, the losses of its steps, the rates that they were made at."""

    def __init__(self, monkeypatch):
        self.batches, self.losses, self.rates, self.learners = [], [], [], []
        step = Learner.step

        def noted(learner, batch):
            losses = step(learner, batch)
            self.batches.append(batch)
            self.losses.append(losses)
            self.rates.append({group["lr"] for group in learner.optimizer.param_groups})
            self.learners.append(learner)
            return losses

        monkeypatch.setattr(Learner, "step", noted)


@pytest.fixture
def steps(chain, monkeypatch) -> Steps:
    return Steps(monkeypatch)


def write(folder, name: str, **spec) -> None:
    values = tiny_values()
    model = values["teacher"] if name == "teacher" else values["generations"][name]
    model.pop("fine_tune", None)
    model |= spec
    write_params(folder, values)


def student(name: str = "g1"):
    """The student of a chain that ran, with its pseudo-labels."""
    labels, made_from = pseudo_labels.load(f"data/pseudo_labels/{name}.safetensors")
    learn(job(name, pseudo_labels=labels, images_labelled=made_from["images_seen"]))
    return labels


def images(split: str) -> Tensor:
    return torch.from_numpy(store.load("data/prepared/base").array(split).copy())


def nearest(views: Tensor, originals: Tensor, shift: int = 1) -> Tensor:
    """Largest difference of a pixel of each view from the best of all shifts of its original."""
    padded = torch.nn.functional.pad(originals.float(), [shift] * 4, mode="reflect")
    side, found = originals.shape[-1], []
    for top in range(2 * shift + 1):
        for left in range(2 * shift + 1):
            moved = padded[..., top : top + side, left : left + side]
            found.append((views.float() - moved).abs().flatten(1).amax(1))
    return torch.stack(found).amin(0)


@pytest.mark.parametrize("ratio", [0.5, 3.0])
def test_pseudo_labelled_images_come_in_the_ratio_and_with_their_targets(chain, steps, ratio):
    write(chain, "g1", training={"unlabelled_ratio": ratio})
    labels, num = student(), round(8 * ratio)
    assert len(steps.batches) == STEPS
    for batch in steps.batches:
        assert list(batch) == ["labelled", "pseudo"]
        assert (len(batch["labelled"].images), len(batch["pseudo"].images)) == (8, num)
        rows = batch["pseudo"].rows.numpy()
        torch.testing.assert_close(
            batch["pseudo"].targets, torch.from_numpy(labels.probs[rows]).float()
        )
        assert batch["pseudo"].soft and not batch["labelled"].soft


@pytest.mark.parametrize(
    ("num_ops", "labelled_view", "weak"),
    [
        (2, "strong", {"labelled": False, "pseudo": False}),
        (2, "weak", {"labelled": True, "pseudo": False}),
        (0, "strong", {"labelled": True, "pseudo": True}),
    ],
)
def test_the_view_of_each_part(chain, steps, num_ops, labelled_view, weak):
    """By the pixels: a weak view is a shift of its image; of the strong one most are not."""
    noise = {"num_ops": num_ops, "labelled_view": labelled_view}
    write(chain, "g1", training=noise)
    labels = student()
    index = {"labelled": None, "pseudo": torch.from_numpy(labels.index)}
    splits = {"labelled": images("labelled"), "pseudo": images("unlabelled")}
    for name, is_weak in weak.items():
        parts = [batch[name] for batch in steps.batches]
        rows = torch.cat([part.rows for part in parts])
        originals = splits[name][rows if index[name] is None else index[name][rows]]
        same = nearest(torch.cat([part.images for part in parts]), originals) == 0
        assert same.all() if is_weak else same.float().mean() < 0.5


@pytest.mark.parametrize("weight", [0.0, 0.7, 2.0])
def test_the_weight_of_pseudo_labels(chain, steps, weight):
    write(chain, "g1", training={"unlabelled_weight": weight})
    student()
    for losses in steps.losses:
        wanted = losses["labelled"] + weight * losses["pseudo"]
        torch.testing.assert_close(losses["loss"], wanted)


def test_a_generation_may_learn_by_labels_pseudo_labels_and_consistency_together(chain, steps):
    write(chain, "g1", methods=UDA, training={"unlabelled_weight": 0.5})
    student()
    for batch, losses in zip(steps.batches, steps.losses):
        sizes = {name: len(part.images) for name, part in batch.items()}
        assert sizes == {"labelled": 8, "pseudo": 16, "unlabelled": 16, "weak": 16}
        assert torch.equal(batch["unlabelled"].rows, batch["weak"].rows)
        wanted = losses["labelled"] + 0.5 * losses["pseudo"] + losses["uda"]
        torch.testing.assert_close(losses["loss"], wanted)
    row = read_curves(chain / "models/g1/curves.csv")[-1]
    assert min(float(row[name]) for name in ("labelled", "pseudo", "uda")) > 0
    card = checkpoint.read_card("models/g1")
    assert set(card["model"]["methods"]) == {"uda"} and list(card["parents"]) == ["teacher"]


def test_a_teacher_may_learn_from_unlabelled_images(chain, steps):
    """Without pseudo-labels, and into other weights than from labels alone."""
    plain = checkpoint.read_card("models/teacher")
    write(chain, "teacher", methods=UDA)
    teacher.main()
    assert all(set(batch) == {"labelled", "unlabelled", "weak"} for batch in steps.batches)
    card = checkpoint.read_card("models/teacher")
    assert card["sha256"] != plain["sha256"] and card["parents"] == {}
    assert set(card["data"]["base"]) == {"labelled", "unlabelled", "val"}
    assert set(plain["data"]["base"]) == {"labelled", "val"}


def test_the_clean_end_has_its_rate_and_no_noise(chain, steps):
    """No dropout, no stochastic depth, the weak view of labelled images alone; after a consistency
    loss too."""
    options = {"steps": 5, "learning_rate": 0.002, "image_size": 0}
    noise = {"stochastic_depth": 0.4, "dropout": 0.4}
    spec = {"network": "resnet_9", "width": 0.05, "training": noise, "methods": UDA}
    write(chain, "teacher", fine_tune=options, **spec)
    learn(job("teacher"))
    clean = slice(STEPS, None)
    config = job("teacher").config
    tuned = recipe(config.training, config.options.fine_tune)
    assert steps.rates[clean] == [{learning_rate(tuned, step)} for step in range(5)]
    assert steps.rates[STEPS] == {0.002} and max(steps.rates[STEPS - 2]) != 0.002
    assert all(list(batch) == ["labelled"] for batch in steps.batches[clean])
    parts = [batch["labelled"] for batch in steps.batches[clean]]
    originals = images("labelled")[torch.cat([part.rows for part in parts])]
    assert (nearest(torch.cat([part.images for part in parts]), originals) == 0).all()
    noisy, last = steps.learners[0].network, steps.learners[-1].network
    assert (noisy.dropout, last.dropout) == (0.4, 0.0)
    skips = [[m.skip for m in net.modules() if hasattr(m, "skip")] for net in (noisy, last)]
    assert skips == [[0.2, 0.4], [0.0, 0.0]]
    card = checkpoint.read_card("models/teacher")
    assert card["network"]["dropout"] == 0.4, "what a student that begins with it trains with"


def test_the_teachers_file_is_not_touched_by_its_student(chain, monkeypatch):
    """It is not even loaded: its answers are in the pseudo-labels."""
    loaded, real = [], checkpoint.load
    monkeypatch.setattr(
        checkpoint, "load", lambda *given, **named: loaded.append(given) or real(*given, **named)
    )
    write(chain, "g1")
    student()
    assert loaded == []
    write(chain, "g1", init="teacher")
    student()
    assert [str(folder) for folder, _ in loaded] == ["models/teacher"]


def test_every_training_is_of_its_own_phase(chain, monkeypatch):
    """So that its draws and its checkpoints are its own."""
    phases = []
    spy_on_fits(monkeypatch, lambda learner, streams, phase: phases.append(phase))
    write(chain, "g1", fine_tune={"steps": 1, "learning_rate": 0.1, "image_size": 0})
    student()
    assert phases == ["", "fine_tune"]
