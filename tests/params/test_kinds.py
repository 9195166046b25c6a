"""What does not go with a class for each pixel, or for each image, is refused in a line."""

from __future__ import annotations

import pytest
from conftest import tiny_values, write_params
from faults import set_key
from scenes import SMALL, scene_values

from pipeline import __main__ as command_line
from pipeline.core.errors import UserError
from pipeline.data.kinds import SEGMENTATION
from pipeline.methods.distillation import DISTILLATION
from pipeline.methods.semi_supervised import SEMI_SUPERVISED
from pipeline.params.check import load

ALL = DISTILLATION | SEMI_SUPERVISED
OF_PIXELS = [name for name, kind in ALL.items() if SEGMENTATION in kind.kinds]


def said(folder, values: dict) -> list[str]:
    path = write_params(folder, values)
    try:
        load(path)
    except UserError as error:
        return [line.split("(", 1)[1] for line in str(error).splitlines()]
    return []


def test_scenes_may_be_segmented(tmp_path):
    assert said(tmp_path, scene_values()) == []


@pytest.mark.parametrize("name", ALL)
def test_methods_of_images_are_refused_for_pixels_naming_those_that_fit(tmp_path, name):
    methods = {"kd": {}, name: {}} if name not in DISTILLATION else {name: {}}
    values = scene_values(distilled={"d1": SMALL | {"teacher": "g1", "methods": methods}})
    lines = said(tmp_path, values)
    if name in OF_PIXELS:
        assert lines == []
        return
    [line] = lines
    assert line.startswith(f"distilled.d1.methods.{name}): '{name}' is not for segmentation")
    assert line.endswith(f"use one of {', '.join(OF_PIXELS)}")


def test_a_method_of_pixels_is_refused_for_images(tmp_path):
    student = SMALL | {"teacher": "g1", "methods": {"structured": {}}}
    [line] = said(tmp_path, tiny_values() | {"distilled": {"d1": student}})
    assert line.startswith("distilled.d1.methods.structured): 'structured' is not for classificat")


TASK = {"base": "g1", "scenario": "class", "classes": ["5"], "labels_per_class": 3, "methods": {}}
REFUSED = {
    "meta_pseudo_labels": {"m1": {"teacher": "g1"}},
    "specialists": {"s1": {"teacher": "g1"}},
    "tasks": {"t1": TASK | {"data": {"root": "data/digits"}}},
    "labels.transforms": ["identity", "flip"],
    "labels.ood_filter": "energy",
    "labels.balance": "equal",
    "generations.g1.labels": {"balance": 5},
    "distilled.d1.transforms": ["flip"],
}


@pytest.mark.parametrize("key", REFUSED)
def test_what_is_for_whole_images_is_refused(tmp_path, key):
    values = scene_values()
    set_key(values, key, REFUSED[key])
    place = f"{key}.balance" if key == "generations.g1.labels" else key
    [line] = said(tmp_path, values)
    assert line.startswith(f"{place}): 'digit_scenes' asks for a class for each pixel")


def test_frozen_features_are_refused(tmp_path):
    values = scene_values()
    del values["distilled"], values["generations"]
    values |= {"distilled": {}, "generations": {}, "final": "teacher"}
    values["teacher"] |= {"training": {"features": "frozen"}}
    assert any("frozen features are of whole images" in line for line in said(tmp_path, values))


@pytest.mark.parametrize("command", [["suggest"], ["cross-validate"]])
def test_commands_for_whole_images_say_so(tmp_path, monkeypatch, command):
    write_params(tmp_path, scene_values())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["pipeline", *command])
    with pytest.raises(UserError, match="this is for whole images"):
        command_line.main(command)
