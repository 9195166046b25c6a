"""`images_seen` of every kind of training against a count of real forward passes."""

import pytest
import torch
from conftest import tiny_values, write_params
from counts import Count
from jobs import extension, job, with_tasks

from pipeline.continual.extend import extend
from pipeline.data import tasks
from pipeline.meta.train import PAIRS, learn_with_teacher
from pipeline.networks import checkpoint, evaluate
from pipeline.students.learn import learn
from pipeline.training.learner import Learner
from stages import pseudo_label, student

TUNE = {"fine_tune": {"steps": 3, "learning_rate": 0.01, "image_size": 0}}
SEPARATE = {"batch_norm": "separate"}
APART, JOINT = {"uda": {}}, {"uda": {"weak_view": "joint"}}


@pytest.fixture
def count(chain, monkeypatch):
    made = Count(monkeypatch)
    yield made
    made.close()


def write(folder, block: str, name: str | None = None, **spec) -> None:
    """The tiny params, with some keys of one model changed, and few steps."""
    values = tiny_values()
    values["training"] |= {"steps": 5, "evaluate_every": 2}
    model = values[block][name] if name else values[block]
    model.pop("fine_tune", None)
    model |= spec
    write_params(folder, values)


@pytest.mark.parametrize("training", [{}, SEPARATE], ids=str)
@pytest.mark.parametrize(
    "methods",
    [{}, APART, JOINT, {"pseudo_label": {}}, {"fixmatch": {}, "pseudo_label": {}}],
    ids=str,
)
def test_of_a_model_from_labels(chain, count, methods, training):
    write(chain, "teacher", methods=methods, training=training)
    assert learn(job("teacher"))["images_seen"] == count.total > 0


@pytest.mark.parametrize("methods", [{}, APART], ids=str)
def test_of_a_clean_end(chain, count, methods):
    write(chain, "teacher", methods=methods, **TUNE)
    assert learn(job("teacher"))["images_seen"] == count.total > 0


@pytest.mark.parametrize("transforms", [["identity"], ["identity", "flip", "left"]])
@pytest.mark.parametrize("methods", [{}, JOINT], ids=str)
def test_of_a_generation_with_its_teachers_labelling(chain, count, methods, transforms):
    write(chain, "generations", "g2", methods=methods, labels={"transforms": transforms}, **TUNE)
    pseudo_label.main(["g2"])
    dataset = tasks.dataset("base")
    # val images are answered to compare; `count` knows them as they are, but not transformed
    measured = (len(transforms) - 1) * dataset.num("val")
    labelled = count.total - measured
    assert labelled == len(transforms) * dataset.num("unlabelled")
    student.main(["g2"])
    assert checkpoint.read_card("models/g2")["images_seen"] == count.total - measured > labelled


@pytest.mark.parametrize("training", [{}, SEPARATE], ids=str)
@pytest.mark.parametrize(
    "methods",
    [
        {},
        {"lwf": {"warmup_steps": 0}},
        {"lwf": {"warmup_steps": 3}},
        {"lwf": {"warmup_steps": 3}, **APART},
        {"lwf": {"warmup_steps": 3}, **JOINT, "pseudo_label": {}},
    ],
    ids=str,
)
def test_of_a_task_with_its_warm_up_and_its_old_model(chain, count, methods, training):
    recipe = {"steps": 5, "evaluate_every": 2} | training
    with_tasks(chain, t1={"methods": methods, "training": recipe})
    assert extend(extension())["images_seen"] == count.total > 0


def pair(labels: str, feedback: str) -> dict:
    """The options of a pair that is labelled and corrected so."""
    return {"labels": labels} | ({} if feedback == "gradient" else {"feedback": feedback})


@pytest.mark.parametrize(("labels", "feedback"), PAIRS)
@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"student_wait": 2} | TUNE,
        {"uda": {"weak_view": "joint"}},
        {"training": SEPARATE, "student_wait": 1},
    ],
    ids=str,
)
def test_of_a_pair_and_its_teacher(chain, count, labels, feedback, spec):
    """Measurements of the student count, from the step on at which it stops waiting."""
    write(chain, "meta_pseudo_labels", "m1", **pair(labels, feedback), **spec)
    card, teacher = learn_with_teacher(job("m1"))
    assert card["images_seen"] == count.total
    assert teacher["images_seen"] in count.by_network.values()
    assert len(count.by_network) == (3 if "fine_tune" in spec else 2)


@pytest.mark.parametrize(("labels", "feedback"), PAIRS)
def test_of_a_reduced_pair(chain, count, labels, feedback):
    """The large teacher answers every labelled and unlabelled image once."""
    write(chain, "meta_pseudo_labels", "m1", reduced=True, **pair(labels, feedback), **TUNE)
    card, teacher = learn_with_teacher(job("m1"))
    assert card["images_seen"] == count.total
    splits = [len(tasks.dataset("base").array(split)) for split in ("labelled", "unlabelled")]
    assert teacher["images_seen"] == sum(splits)


def test_an_interruption_counts_no_image_twice(chain, count, monkeypatch):
    write(chain, "teacher", methods=APART, **TUNE)
    whole = learn(job("teacher"))["images_seen"]
    step = Learner.step

    def cut(self, batch):
        if self.num_steps == 3:
            raise KeyboardInterrupt
        return step(self, batch)

    monkeypatch.setenv("LINEAGE_CHECKPOINT_SECONDS", "0.000001")
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", cut)
        with pytest.raises(KeyboardInterrupt):
            learn(job("teacher"))
    assert learn(job("teacher"))["images_seen"] == whole


def test_the_count_is_not_blind(count):
    """A pass counts once, one on val does not, another network counts by itself."""
    network, _ = checkpoint.load("models/g1")
    data = tasks.dataset("base")
    evaluate.infer(network, data.array("val"))
    assert count.total == 0
    evaluate.infer(network, data.array("labelled"))
    network(torch.zeros(2, 1, 8, 8))
    assert count.total == len(data.array("labelled")) + 2
