"""The task matrix and its summaries, against hand-made answers."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline.report import continual


def model(parents: list[str], right: dict[str, list[int]]) -> SimpleNamespace:
    """A measured model that is right (1) or wrong (0) on each image of each task."""
    flags = np.concatenate([np.array(v, dtype=bool) for v in right.values()])
    answers = SimpleNamespace(
        right=flags,
        task=np.concatenate([[t] * len(v) for t, v in right.items()]),
        task_known=torch.eye(2)[torch.tensor((~flags).astype(int))],
        labels=torch.zeros(len(flags), dtype=torch.int64),
    )
    heads = [{"task": task, "classes": ["a", "b"]} for task in right]
    card = {"heads": heads, "parents": dict.fromkeys(parents, "sha"), "metrics": {}}
    card["tasks"] = [[task, task] for task in list(right)[1:]]
    return SimpleNamespace(card=card, answers={"val": answers}, ahead={})


@pytest.fixture
def chain():
    return {
        "teacher": model([], {"base": [1, 0, 0, 0]}),
        "g1": model(["teacher"], {"base": [1, 1, 1, 1]}),
        "t1": model(["g1"], {"base": [1, 1, 0, 0], "t1": [1, 0]}),
        "t2": model(["t1"], {"base": [1, 1, 1, 0], "t1": [0, 0], "t2": [1]}),
    }


def test_the_chain_starts_at_the_model_that_was_extended(chain):
    assert continual.chain(chain, "t2") == ["g1", "t1", "t2"]


def test_the_newest_classes_of_a_domain_are_those_of_the_head_that_answers_it(chain):
    card = chain["t1"].card
    card["heads"] = [{"task": "base", "classes": ["a"]}, {"task": "t1", "classes": ["b", "c"]}]
    assert continual.newest_classes(card) == ["b", "c"]
    assert continual.newest_classes(card | {"tasks": [["t1", "t1"], ["d", "base"]]}) == ["a"]


def test_the_matrix_has_a_row_per_model_and_nothing_above_the_diagonal(chain):
    tasks, result = continual.matrix(chain, "t2", "val")
    nan = np.nan
    assert tasks == ["base", "t1", "t2"]
    np.testing.assert_array_equal(result, [[1, nan, nan], [0.5, 0.5, nan], [0.75, 0, 1]])


def test_backward_transfer_and_forgetting(chain):
    _, result = continual.matrix(chain, "t2", "val")
    assert continual.backward_transfer(result) == pytest.approx(((0.75 - 1) + (0 - 0.5)) / 2)
    assert continual.forgetting(result) == pytest.approx(((1 - 0.75) + (0.5 - 0)) / 2)


def test_forgetting_counts_from_the_best_there_was():
    result = np.array([[0.5, np.nan, np.nan], [0.9, 0.8, np.nan], [0.6, 0.8, 1.0]])
    assert continual.forgetting(result) == pytest.approx((0.3 + 0.0) / 2)
    assert continual.backward_transfer(result) == pytest.approx((0.1 + 0.0) / 2)


def test_what_was_answered_before_it_was_learnt_is_forward_transfer(chain):
    chain["t1"].ahead = {"val": {"t2": SimpleNamespace(accuracy=0.75)}}
    chain["t2"].card |= {"tasks": [["t1", "t1"], ["t2", "base"]]}
    chain["t2"].card["heads"].pop()
    _, result = continual.matrix(chain, "t2", "val")
    assert result[1, 2] == 0.75 and np.isnan(result[0, 1])
    metrics = continual.metrics(chain)
    assert metrics["val_fwt/t2"] == pytest.approx(0.75 - 1 / 4) and "val_fwt/t1" not in metrics
    assert metrics["val_task_mean/t2"] == pytest.approx((0.75 + 0 + 1) / 3)
    chain["t2"].card["task"] = {"scenario": "task"}
    assert continual.metrics(chain)["val_fwt/t2"] == pytest.approx(0.75 - 1 / 2)


def test_the_score_of_the_card_is_a_metric(chain):
    chain["t1"].card["metrics"] = {"score": 0.5, "score_old": 0.7, "score_new": 0.3}
    result = continual.metrics(chain)
    assert result["val_score/t1"] == 0.5 and result["val_score_new/t1"] == 0.3
    assert "val_score/g1" not in result


def test_names_of_the_metrics(chain):
    result = continual.metrics(chain)
    assert result["val_task_acc/t1/base"] == 0.5
    assert result["val_task_acc_told/t1/t1"] == 0.5
    assert result["val_forgetting/t1"] == 0.5 and result["val_bwt/t1"] == -0.5
    assert "val_task_acc_told/g1/base" not in result and "val_forgetting/g1" not in result
