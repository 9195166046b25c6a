"""prepare and prepare_task: the splits of the base task and of a task."""

import csv

import numpy as np
import pytest
from conftest import tiny_values, write_params

from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.params.check import load
from stages import (
    prepare,
)


def test_prepare_splits_the_digits_of_the_base_classes(chain):
    data, dataset = load().data, store.load("data/prepared/base")
    assert dataset.classes == data.classes and dataset.image_shape == (1, 8, 8)
    labels = np.bincount(dataset.array("labelled", "label"))
    assert labels.tolist() == [data.labels_per_class] * len(data.classes)
    total = sum(len(dataset.array(name)) for name in store.SPLITS)
    assert len(dataset.array("val")) / total == pytest.approx(data.val, abs=0.04)
    assert len(dataset.array("test")) / total == pytest.approx(data.test, abs=0.04)


def test_base_and_task_share_no_image_and_are_split_by_one_rule(chain):
    indexes = []
    for name in ("base", "t1"):
        with open(f"data/prepared/{name}/index.csv", newline="") as file:
            indexes.append({row["sha256"]: row["split"] for row in csv.DictReader(file)})
    assert not indexes[0].keys() & indexes[1].keys()
    values = tiny_values()
    values["data"]["classes"] += values["tasks"]["t1"]["classes"]
    write_params(chain, values | {"tasks": {}, "final": "g2"})
    prepare.main()
    with open("data/prepared/base/index.csv", newline="") as file:
        together = {row["sha256"]: row["split"] for row in csv.DictReader(file)}
    assert together == indexes[0] | indexes[1]


def test_an_extension_of_a_task_with_no_unlabelled_images_left_is_refused(chain):
    values = tiny_values()
    values["data"]["labels_per_class"] = 100
    values["data"]["val"], values["data"]["test"] = 0.2, 0.25
    write_params(chain, values)
    with pytest.raises(UserError, match=r"class '\d' has \d+ training images, 100 are asked for"):
        prepare.main()
