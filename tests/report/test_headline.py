"""The first screen warns of a model that may be no better than always giving the same answer."""

from dataclasses import replace

import made_up
import numpy as np
import pytest
import torch

from pipeline.pages.render import environment
from pipeline.report.headline import headline
from pipeline.report.page import TEMPLATES


@pytest.mark.parametrize(
    ("counts", "right", "guess"),
    [
        ([2, 3, 1], 1, 0.5),  # 3 % to 56 %
        ([2, 3, 1], 6, None),  # from 61 % on
        ([90, 5, 5], 93, 0.9),  # 86 % to 97 %: hardly more than the largest class
        ([90, 5, 5], 100, None),
    ],
)
def test_chance_is_named_where_a_model_may_be_no_better(counts, right, guess):
    made = made_up.results(made_up.experiment({}, {}, "teacher", ["a", "b", "c"], test=False))
    answers = made.measured["teacher"].answers["val"]
    labels = np.repeat(np.arange(3), counts)
    logits = np.eye(3)[np.where(np.arange(len(labels)) < right, labels, (labels + 1) % 3)]
    made.measured["teacher"].answers["val"] = replace(
        answers, labels=torch.from_numpy(labels), logits=torch.from_numpy(logits)
    )
    head = headline(made)
    page = environment(TEMPLATES).get_template("headline.html").render(head=head)
    assert head["guess"] == guess and ("no better than guessing" in page) == bool(guess)
