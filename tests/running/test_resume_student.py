"""A student that was interrupted starts afresh when its pseudo-labels, and they alone, changed."""

import shutil

import pytest
from conftest import same_files, tiny_values, write_params

from pipeline.labelling import pseudo_labels
from pipeline.training.learner import Learner
from stages import pseudo_label, student

STOP = 5
FILE = "data/pseudo_labels/g1.safetensors"


@pytest.fixture
def killed(chain, monkeypatch) -> None:
    """The student g1 was killed at step STOP, with a checkpoint of all before."""
    shutil.copytree("models/g1", "whole")
    monkeypatch.setenv("LINEAGE_CHECKPOINT_SECONDS", "0.000001")
    step = Learner.step

    def stopping(learner, given):
        if learner.num_steps == STOP:
            raise KeyboardInterrupt
        return step(learner, given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Learner, "step", stopping)
        student.main(["g1"])


def trained(monkeypatch) -> list[int]:
    """The steps that the student makes now."""
    made, step = [], Learner.step

    def counted(learner, given):
        made.append(learner.num_steps)
        return step(learner, given)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", counted)
        student.main(["g1"])
    return made


def test_the_same_labels_are_gone_on_with(killed, chain, monkeypatch):
    assert trained(monkeypatch)[0] == STOP
    same_files(chain / "models/g1", chain / "whole")


@pytest.mark.parametrize("labels", [{"temperature": 0.5}, {"kind": "hard"}], ids=str)
def test_other_labels_of_the_same_teacher_are_begun_with_anew(killed, chain, monkeypatch, labels):
    before, _ = pseudo_labels.load(FILE)
    values = tiny_values()
    values["generations"]["g1"]["labels"] = labels
    write_params(chain, values)
    pseudo_label.main(["g1"])
    after, _ = pseudo_labels.load(FILE)
    assert (after.index == before.index).all() and after.digest() != before.digest()
    assert trained(monkeypatch)[0] == 0
    shutil.copytree("models/g1", "afresh")
    assert trained(monkeypatch)[0] == 0
    same_files(chain / "models/g1", chain / "afresh")
