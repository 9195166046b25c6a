"""meta_pseudo_labels: the cards and curves of a student and of the teacher that it corrects."""

import pytest
import torch
from conftest import EVALUATED, STEPS, read_curves, tiny_values, write_params
from stage_mains import card

from pipeline.core.errors import UserError
from pipeline.networks import checkpoint, evaluate
from pipeline.networks.classifier import Classifier
from pipeline.params.check import load
from pipeline.training.optimizer import learning_rate
from stages import meta_pseudo_labels


def test_the_cards_of_a_pair_hold_the_options_of_its_teachers_consistency(chain):
    """Else a resume checkpoint made with other ones would be gone on from."""
    uda = load().meta_pseudo_labels["m1"].uda.model_dump()
    assert card("m1")["model"]["uda"] == card("m1-teacher")["model"]["uda"] == uda


def test_the_curves_of_a_pair_tell_its_networks_apart(chain):
    """Each with its own learning rate; the clean end is the student's alone."""
    curves = {n: read_curves(chain / f"models/{n}/curves.csv") for n in ("m1", "m1-teacher")}
    recipe, spec = load().config("m1").training, load().meta_pseudo_labels["m1"]
    peaks = {"m1": recipe.learning_rate, "m1-teacher": spec.teacher_learning_rate}
    for name, peak in peaks.items():
        own = recipe.model_copy(update={"learning_rate": peak})
        results = [float(row["learning_rate"]) for row in curves[name][:3]]
        assert results == [learning_rate(own, int(row["step"]) - 1) for row in curves[name][:3]]
    *rows, clean = curves["m1"]
    assert [row["teacher/val_loss"] for row in rows] == [
        row["val_loss"] for row in curves["m1-teacher"]
    ]
    assert clean["step"] == str(STEPS + 4) and not clean["teacher/val_loss"]


def test_a_pairs_teacher_begins_as_it_was_and_a_students_schedule_when_it_learns(chain):
    values, wait = tiny_values(), EVALUATED[0] + 2
    spec = {"teacher_learning_rate": 1e-9, "student_wait": wait, "training": {"ema": 0.0}}
    values["meta_pseudo_labels"]["m1"] |= spec
    write_params(chain, values)
    meta_pseudo_labels.main(["m1"])
    before, after = (checkpoint.load(f"models/{name}")[0] for name in ("g1", "m1-teacher"))
    torch.testing.assert_close(dict(after.named_parameters()), dict(before.named_parameters()))
    recipe = load().config("m1").training.model_copy(update={"steps": STEPS - wait})
    results = [float(row["learning_rate"]) for row in read_curves(chain / "models/m1/curves.csv")]
    assert results[:3] == [0.0, *(learning_rate(recipe, step - 1 - wait) for step in EVALUATED[1:])]


def test_soft_labels_are_refused_before_training_where_networks_are_compiled(chain, monkeypatch):
    values = tiny_values()
    values["meta_pseudo_labels"]["m1"]["labels"] = "soft"
    write_params(chain, values)
    monkeypatch.setenv("LINEAGE_COMPILE", "true")
    with pytest.raises(UserError, match=r"m1\.labels\): .* through `compile`; fix: set compile: f"):
        meta_pseudo_labels.main(["m1"])


def test_a_pair_without_a_clean_end_has_the_metrics_of_any_model(chain):
    values = tiny_values()
    del values["meta_pseudo_labels"]["m1"]["fine_tune"]
    write_params(chain, values)
    meta_pseudo_labels.main(["m1"])
    assert set(card("m1")["metrics"]) == set(card("m1-teacher")["metrics"])
    assert set(card("m1")["metrics"]) == {"val_acc", "val_loss", "temperature"}


def zeros(_, images, *more) -> torch.Tensor:
    """In the place of an evaluation on val, which the count leaves out."""
    return torch.zeros(len(images), 8)


@pytest.mark.parametrize(
    ("feedback", "measured"), [("loss_difference", 2), ("inner_product", 1), ("none", 0)]
)
def test_the_card_of_a_pair_counts_all_images_that_go_through_a_network(
    chain, monkeypatch, feedback, measured
):
    seen, forward = [], Classifier.forward
    values = tiny_values()
    values["meta_pseudo_labels"]["m1"] |= {"feedback": feedback, "student_wait": 3}
    write_params(chain, values)

    def counted(self, images):
        seen.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(Classifier, "forward", counted)
    monkeypatch.setattr(evaluate, "infer", zeros)
    meta_pseudo_labels.main(["m1"])
    steps, labelled, unlabelled = STEPS, 8, 16
    each = labelled + 3 * unlabelled
    wanted = steps * each + (steps - 3) * measured * labelled + 4 * labelled
    assert card("m1")["images_seen"] == sum(seen) == wanted
