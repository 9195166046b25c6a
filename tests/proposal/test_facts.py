"""How many images train, judge and are kept for the end."""

from collections import Counter

import pytest

from pipeline.proposal.facts import facts
from pipeline.proposal.sample import Headers
from pipeline.sources.images import Found

HEADERS = Headers(32, {}, Counter({"JPEG RGB": 1}), {})


def test_few_labels_are_shared_with_val_alone():
    made = facts(Found({"cat": 15, "dog": 15}, unlabelled=100), HEADERS, "all")
    assert (made.val_share, made.test_share) == (0.2, 0.0)
    assert (made.labelled, made.val, made.test, made.unlabelled) == (24, 6, 0, 100)
    assert (made.files, made.num_classes, made.side, made.colour) == (130, 2, 32, True)


@pytest.mark.parametrize(
    ("num", "share"), [(1_000, 0.2), (5_000, 0.2), (10_000, 0.1), (100_000, 0.05)]
)
def test_many_labels_leave_a_test_and_no_share_larger_than_needed(num, share):
    made = facts(Found({"cat": num // 2, "dog": num // 2}), HEADERS, "all")
    assert (made.val_share, made.test_share) == (share, share)
    assert made.labelled == num - 2 * round(num * share)


def test_what_the_source_brings_is_not_shared_out_again():
    held = {"val": {"cat": 3, "dog": 4}, "test": {"cat": 5}}
    made = facts(Found({"cat": 900, "dog": 900}, held), HEADERS, "all")
    assert (made.val_share, made.test_share, made.val, made.test) == (0.0, 0.0, 7, 5)
    assert (made.labelled, made.files) == (1_800, 1_812)


def test_hidden_labels_are_images_without():
    made = facts(Found({"cat": 100, "dog": 100}, unlabelled=7), HEADERS, 10)
    assert (made.labelled, made.unlabelled, made.val) == (20, 7 + 160 - 20, 40)
    assert made.labels_per_class == 10
    few = facts(Found({"cat": 10, "dog": 10}), HEADERS, 99)
    assert (few.labelled, few.unlabelled) == (16, 0)
