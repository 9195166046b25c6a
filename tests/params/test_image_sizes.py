"""A network of one size is asked for that size before anything is trained."""

import pytest
from conftest import tiny_values, write_params
from faults import assert_names, lines_of

from pipeline.params.check import load

VIT = {"network": "torchvision/vit_b_16"}
RIGHT = {"training": {"image_size": 224}}
TUNE = {"steps": 1, "learning_rate": 0.1}


def values(block: str, **spec) -> dict:
    """The tiny params, with other keys in a model."""
    made = tiny_values()
    model = made if block == "teacher" else made[block]
    name = {"generations": "g1", "baselines": "b1", "meta_pseudo_labels": "m1"}.get(block, block)
    if block == "generations":
        made["meta_pseudo_labels"] = {}  # whose network is that of g1
    model[name] = {k: v for k, v in model[name].items() if k != "width"} | spec
    return made


@pytest.mark.parametrize("block", ["teacher", "generations", "baselines", "meta_pseudo_labels"])
@pytest.mark.parametrize("size", [0, 32, 256])
def test_another_size_is_one_line(tmp_path, block, size):
    spec = VIT | {"training": {"image_size": size}, "fine_tune": TUNE | {"image_size": 224}}
    (line,) = lines_of(tmp_path, values(block, **spec))
    name = {"generations": ".g1", "baselines": ".b1", "meta_pseudo_labels": ".m1"}.get(block, "")
    assert_names(line, f"{block}{name}.training.image_size")
    assert "'torchvision/vit_b_16' takes images of 224x224 alone; fix: set it to 224" in line


def test_so_is_another_size_of_the_clean_end(tmp_path):
    spec = VIT | RIGHT | {"fine_tune": TUNE | {"image_size": 384}}
    (line,) = lines_of(tmp_path, values("teacher", **spec))
    assert_names(line, "teacher.fine_tune.image_size")


def test_the_right_one_is_right_and_a_task_keeps_it(tmp_path):
    made = values("teacher", **VIT, **RIGHT, fine_tune=TUNE | {"image_size": 224})
    made["tasks"]["t1"]["base"] = "teacher"
    load(write_params(tmp_path, made))
