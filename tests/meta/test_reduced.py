"""Reduced Meta Pseudo Labels: the calibrator's gradient against the truth; a large teacher that
answers once, stays as it is and is away while the pair trains; what becomes of it."""

import shutil
import weakref

import pytest
import test_meta
import torch
from conftest import read_curves, same_files, tiny_values, write_params
from test_checkpoint import card
from test_meta import CLASSES, comes_back, compare, correction, expected_correction, flat, learner
from torch.nn import functional as F

from pipeline.data import store
from pipeline.labelling import pseudo_labels
from pipeline.meta.pair import MetaPseudoLabels
from pipeline.meta.reduced import ReducedTeacher
from pipeline.networks.calibrator import Calibrator
from pipeline.networks.classifier import checkpoint, evaluate
from pipeline.networks.frozen import freeze
from pipeline.params.check import load
from pipeline.tracking.servable import Servable
from pipeline.training.optimizer import learning_rate
from stages import meta_pseudo_labels, prepare, pseudo_label, report, student, teacher

batch, training = test_meta.batch, test_meta.training  # fixtures


def stirred(made: Calibrator) -> Calibrator:
    """The calibrator with a last layer that says something."""
    torch.manual_seed(4)
    torch.nn.init.normal_(made.layers[2].weight, std=0.5)
    torch.nn.init.normal_(made.layers[2].bias, std=0.5)
    return made


def small(training, options) -> ReducedTeacher:
    """A teacher of recorded answers to 6 labelled and 8 unlabelled images, in float64."""
    torch.manual_seed(5)
    answers = {"labelled": 2 * torch.randn(6, CLASSES), "unlabelled": 2 * torch.randn(8, CLASSES)}
    answers = {name: table.double() for name, table in answers.items()}
    network = stirred(Calibrator(CLASSES, 4)).double()
    return ReducedTeacher(network, training, options, answers)


# --- the gradient -----------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_the_loss_difference_is_unbiased(rate, training, batch):
    """All draws of labels: the mean of h * gradient is the gradient of the mean new loss."""
    pair = learner(training, rate, 0.9, True, teach=small, feedback="loss_difference")
    truth = test_meta.truth_for_hard_labels(pair, batch)
    cosine, ratio = compare(expected_correction(pair, batch), truth)
    assert cosine > 0.999999 and abs(ratio - 1) < 1e-6


def test_soft_labels_carry_the_exact_gradient(training, batch):
    pair = learner(training, 0.5, 0.9, True, teach=small, labels="soft")
    weights, logits = test_meta.teacher_logits(pair, batch)
    loss = test_meta.student_after(pair, batch, logits.softmax(1))
    truth = flat(torch.autograd.grad(loss, weights))
    cosine, ratio = compare(correction(pair, batch), truth)
    assert cosine > 0.999999 and abs(ratio - 1) < 1e-6


def test_without_feedback_the_calibrator_is_trained_by_labels_alone(training, batch):
    options = {"feedback": "none", "teacher_learning_rate": 0.05}
    pair = learner(training, 0.1, teach=small, **options)
    alone = small(pair.training, pair.options)
    plain = torch.optim.SGD(alone.network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    part = batch["labelled"]
    for step in range(4):
        pair.step(batch)
        plain.param_groups[0]["lr"] = learning_rate(pair.teacher.training, step)
        plain.zero_grad()
        F.cross_entropy(
            alone.network(alone.answers["labelled"][part.rows]), part.targets
        ).backward()
        plain.step()
    mine, theirs = pair.teacher.network.state_dict(), alone.network.state_dict()
    for name, value in mine.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-12, atol=1e-14)


def test_neither_images_nor_frozen_students_matter_to_the_calibrator(training, batch):
    """It sees rows of recorded answers; `train` is about the student."""
    pair = learner(training.model_copy(update={"train": "fc"}), 0.1, teach=small, feedback="none")
    other = {name: part._replace(images=-part.images) for name, part in batch.items()}
    asked = [pair.teacher.ask(given)[0] for given in (batch, other)]
    assert torch.equal(*asked) and len(asked[0]) == len(batch["unlabelled"].rows)
    assert torch.equal(asked[0][1], asked[0][3]), "row 2 twice"
    assert all(weight.requires_grad for weight in pair.teacher.network.parameters())


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_a_pair_comes_back_bit_for_bit(labels, training, batch):
    state, _ = comes_back(training, batch, teach=small, labels=labels)
    assert "teacher/ema/layers.2.weight" in state


# --- a classifier with a calibrator -----------------------------------------------------------


def calibrated(width=16) -> dict:
    plain = card()
    return plain | {"network": plain["network"] | {"calibrator": width}}


def test_it_begins_as_the_teacher_itself():
    torch.manual_seed(0)
    network, images = checkpoint.build(calibrated()).eval(), torch.rand(5, 1, 8, 8)
    after = network(images).logits.softmax(1)
    found, network.calibrator = network.calibrator, None
    before = network(images).logits.softmax(1)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6)
    network.calibrator = stirred(found)
    assert (network(images).logits.softmax(1) - before).abs().max() > 0.01


def test_what_is_before_it_can_be_trained_on():
    """As the teacher of a pair that is not reduced: at first the gradient is the teacher's own."""
    network, images = checkpoint.build(calibrated()).eval(), torch.rand(5, 1, 8, 8)
    grads = []
    for found in (network.calibrator, None):
        network.calibrator = found
        loss = F.cross_entropy(network(images).logits, torch.tensor([0, 1, 2, 0, 1]))
        weights = [*network.backbone.parameters(), *network.heads.parameters()]
        grads.append(flat(torch.autograd.grad(loss, weights)))
    torch.testing.assert_close(*grads)


def test_it_comes_back_bit_for_bit(tmp_path):
    network = checkpoint.build(calibrated())
    stirred(network.calibrator)
    written = checkpoint.save(tmp_path, network, calibrated())
    read, _ = checkpoint.load(tmp_path)
    ours, theirs = network.state_dict(), read.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)
    extra = sum(weight.numel() for weight in network.calibrator.parameters())
    plain = sum(weight.numel() for weight in checkpoint.build(card()).parameters())
    assert written["num_parameters"] == plain + extra and extra == 3 * 16 + 16 + 16 * 3 + 3


def test_what_is_served_goes_through_it():
    network = checkpoint.build(calibrated())
    stirred(network.calibrator)
    servable, images = Servable(network), torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    dynamic = ({0: torch.export.Dim("batch", min=1)},)
    exported = torch.export.export(servable, (images,), dynamic_shapes=dynamic).module()
    more = torch.randint(0, 256, (7, 1, 8, 8), dtype=torch.uint8)
    assert torch.allclose(exported(more), servable(more), atol=1e-6)
    network.calibrator = None
    assert not torch.allclose(exported(more), servable(more), atol=1e-2)


def test_no_head_grows_before_it():
    with pytest.raises(ValueError, match="no head for 't2' can grow before a calibrator"):
        checkpoint.build(calibrated()).add_head("t2", 2)


def test_it_is_one_of_the_fully_connected_layers():
    network = checkpoint.build(calibrated())
    freeze(network, "fc")
    trained = {name.split(".")[0] for name, w in network.named_parameters() if w.requires_grad}
    assert trained == {"heads", "calibrator"}


# --- the stage --------------------------------------------------------------------------------


def values(**spec) -> dict:
    """A reduced pair of `teacher`, whose teacher teaches on."""
    found = tiny_values()
    pair = found["meta_pseudo_labels"]["m1"] | {"teacher": "teacher", "reduced": True}
    pair |= {"teacher_learning_rate": 0.1, "calibrator_width": 8}
    found["meta_pseudo_labels"] = {"m1": pair | spec}
    found["generations"] = {"g1": found["generations"]["g1"] | {"teacher": "m1-teacher"}}
    return found | {"baselines": {}, "tasks": {}, "final": "g1"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with images and a teacher. Read only."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_params(folder, values())
        prepare.main()
        teacher.main()
    return folder


@pytest.fixture(scope="module")
def done(prepared, tmp_path_factory):
    """The same after the pair. Read only."""
    folder = tmp_path_factory.mktemp("done") / "project"
    shutil.copytree(prepared, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        meta_pseudo_labels.main(["m1"])
    return folder


def base() -> store.Dataset:
    return store.load("data/prepared/base")


def test_the_large_weights_stay_bit_for_bit_and_the_calibrator_learns(done, monkeypatch):
    monkeypatch.chdir(done)
    before = checkpoint.load("models/teacher")[0].state_dict()
    after = checkpoint.load("models/m1-teacher")[0].state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    new = {name.split(".")[0] for name in after.keys() - before.keys()}
    assert new == {"calibrator"} and after["calibrator.layers.2.weight"].abs().max() > 1e-3


def test_the_cards_say_what_is_there_and_how_many_images_were_seen(done, monkeypatch):
    monkeypatch.chdir(done)
    cards = {name: checkpoint.read_card(f"models/{name}") for name in ("m1", "m1-teacher")}
    once = sum(len(base().array(split)) for split in ("labelled", "unlabelled"))
    recipe, mine = load().training_of("m1"), cards["m1"]
    steps = recipe.steps * (2 * recipe.batch_size + recipe.num_unlabelled)
    assert cards["m1-teacher"]["images_seen"] == once
    assert mine["images_seen"] == once + steps + 4 * recipe.batch_size  # and the fine-tuning
    assert cards["m1-teacher"]["network"]["calibrator"] == 8
    assert "calibrator" not in mine["network"] and "uda" not in mine["model"]
    assert mine["model"]["reduced"] and mine["model"]["calibrator_width"] == 8


def test_its_curve_is_of_the_model_that_is_written(done, monkeypatch):
    """Looks in training go by recorded answers, the card by the whole model."""
    monkeypatch.chdir(done)
    network, card = checkpoint.load("models/m1-teacher")
    labels = torch.from_numpy(base().array("val", "label").copy())
    logits = evaluate.infer(network, base().array("val"))
    assert card["metrics"]["val_acc"] == evaluate.accuracy(logits, labels)
    rows = read_curves(done / "models/m1-teacher/curves.csv")
    assert [row["step"] for row in rows] == ["8", "16", "24"] and "uda" not in rows[0]
    last = {name: float(rows[-1][name]) for name in card["metrics"]}
    assert last == pytest.approx(card["metrics"], abs=1e-6)
    start = checkpoint.read_card("models/teacher")["metrics"]["val_loss"]
    assert card["metrics"]["val_loss"] != pytest.approx(start, abs=1e-4)


def test_it_teaches_on_and_is_reported(done, tmp_path, monkeypatch):
    shutil.copytree(done, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    pseudo_label.main(["g1"])
    made, metadata = pseudo_labels.load("data/pseudo_labels/g1.safetensors")
    assert metadata["teacher"]["name"] == "m1-teacher"
    network, _ = checkpoint.load("models/m1-teacher")
    logits = evaluate.infer(network, base().array("unlabelled")[made.index])
    torch.testing.assert_close(
        torch.from_numpy(made.probs).float(), logits.softmax(1), atol=1e-3, rtol=0
    )
    student.main(["g1"])
    report.main()


def test_the_large_teacher_is_away_in_training(prepared, tmp_path, monkeypatch):
    shutil.copytree(prepared, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    loaded, alive = [], []
    load_model, step = checkpoint.load, MetaPseudoLabels.step

    def noted(*args, **options):
        network, card = load_model(*args, **options)
        loaded.append(weakref.ref(network))
        return network, card

    def counted(pair, given):
        alive.append(sum(found() is not None for found in loaded))
        return step(pair, given)

    monkeypatch.setattr(checkpoint, "load", noted)
    monkeypatch.setattr(MetaPseudoLabels, "step", counted)
    meta_pseudo_labels.main(["m1"])
    assert len(loaded) == 2 and alive == [0] * 24


def test_an_interrupted_pair_ends_in_the_same_bytes(prepared, done, tmp_path, monkeypatch):
    shutil.copytree(prepared, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    steps, step = [], MetaPseudoLabels.step

    def cut(pair, given):
        steps.append(pair.num_steps)
        if len(steps) == 8:
            raise KeyboardInterrupt
        return step(pair, given)

    monkeypatch.setenv("LINEAGE_CHECKPOINT_SECONDS", "0.000001")
    monkeypatch.setattr(MetaPseudoLabels, "step", cut)
    with pytest.raises(KeyboardInterrupt):
        meta_pseudo_labels.main(["m1"])
    meta_pseudo_labels.main(["m1"])
    assert steps == [*range(8), *range(7, 24)]
    for name in ("m1", "m1-teacher"):
        same_files(tmp_path / "project/models" / name, done / "models" / name)
