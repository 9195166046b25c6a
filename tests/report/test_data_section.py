"""The facts of a data set, as `prepare` left them."""

import numpy as np
import pytest

from pipeline.data import store
from pipeline.report.facts import facts


def test_facts_are_those_of_the_data_set_on_disk(chain):
    dataset = store.load("data/prepared/t1")
    made = facts("t1")
    assert made.name == "t1" and made.classes == ["8", "9"] and made.without_label == 0
    assert made.num == [len(dataset.array(split)) for split in store.SPLITS]
    assert made.labels == [3, 3] and made.absent == {} and made.warnings == []
    assert made.page == "data/prepared/t1/report.html" and (chain / made.page).is_file()


@pytest.mark.parametrize(("held", "num"), [("val", [4, 4, 4, 0]), ("test", [4, 4, 0, 4])])
def test_classes_without_val_or_test_images_are_named(chain, rng, held, num):
    split = np.array(["labelled", held, "unlabelled"] * 4)
    label = np.array([0, 0, -1] * 2 + [1, 0, -1] * 2)
    texts = {"classes": ["8", "9"], "path": [""] * 12, "sha256": [""] * 12}
    images = rng.integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
    findings = (chain / "data/prepared/t1/findings.json").read_bytes()
    store.save("data/prepared/t1", images, label, split, **texts)
    (chain / "data/prepared/t1/findings.json").write_bytes(findings)
    made = facts("t1")
    assert made.num == num and made.without_label == 4
    assert made.absent == {held: ["9"]}, "and nothing of a split of no images at all"
