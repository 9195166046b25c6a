"""A task of a single class: a warning, where nothing shows the network another class."""

import pytest

from pipeline.continual.options import Task
from pipeline.methods.continual import CONTINUAL
from stages.extend import warn_of_one_class

TASK = {"base": "g1", "scenario": "class", "labels_per_class": 3}


def said(capsys, classes: list[str], methods: dict) -> str:
    task = Task.model_validate(TASK | {"classes": classes, "methods": methods})
    warn_of_one_class("t1", task)
    return capsys.readouterr().err


def test_one_class_alone_is_warned_of(capsys):
    assert said(capsys, ["8"], {}).startswith("warning: t1 learns '8' without images of other")
    assert "warning" in said(capsys, ["8"], {"lwf": {}, "uda": {}})


def test_two_classes_are_not(capsys):
    assert said(capsys, ["8", "9"], {"lwf": {}}) == ""


@pytest.mark.parametrize("rehearses", [True, False])
def test_nor_is_one_with_old_images_in_the_batch(capsys, monkeypatch, rehearses):
    monkeypatch.setattr(CONTINUAL["lwf"], "rehearses", rehearses)
    assert (said(capsys, ["8"], {"lwf": {}}) == "") == rehearses
