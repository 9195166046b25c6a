"""Every finished model's card has the temperature that fits its answers on val."""

import numpy as np
import pytest
import torch
from conftest import tiny_values, write_params
from jobs import learn_tasks, with_tasks
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from stage_mains import STAGES, card

from pipeline.data import tasks
from pipeline.networks import checkpoint
from pipeline.training import fit


def answers(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, K) of a model of the working folder on the val images of all its tasks, and
    labels (N,)."""
    network, told = checkpoint.load(f"models/{name}")
    known = tasks.known(told, "val")
    with torch.no_grad():
        logits = torch.cat([network(task.images).logits for task in known])
    return logits.double().numpy(), torch.cat([task.labels for task in known]).numpy()


def best(logits: np.ndarray, labels: np.ndarray) -> float:
    """By SciPy's minimiser."""

    def loss(log_t: float) -> float:
        scaled = logits / np.exp(log_t)
        return float((logsumexp(scaled, 1) - scaled[np.arange(len(labels)), labels]).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-5, 5), options={"xatol": 1e-9}).x))


@pytest.mark.parametrize("name", ["teacher", "g1", "g2", "m1", "m1-teacher", "b1", "t1"])
def test_it_is_scipys(finished, monkeypatch, name):
    monkeypatch.chdir(finished)
    fitted = card(name)["metrics"]["temperature"]
    assert fitted == pytest.approx(best(*answers(name)), rel=1e-4) and fitted != 1


def test_where_the_task_is_known_only_its_own_classes_count(chain):
    with_tasks(chain, t1={"scenario": "task"})
    learn_tasks("t1")
    logits, labels = answers("t1")
    old = labels < 8
    logits[old, 8:] = logits[~old, :8] = -np.inf
    assert card("t1")["metrics"]["temperature"] == pytest.approx(best(logits, labels), rel=1e-4)


def test_it_is_fitted_on_answers_in_float32_and_changes_no_weight(chain, finished, monkeypatch):
    monkeypatch.setenv("LINEAGE_DTYPE", "bfloat16")
    STAGES["teacher"]()
    told = card("teacher")
    assert told["metrics"]["temperature"] == pytest.approx(best(*answers("teacher")), rel=1e-4)
    monkeypatch.setattr(fit, "calibrated", lambda *_: 7.0)
    STAGES["teacher"]()
    assert card("teacher")["metrics"] == told["metrics"] | {"temperature": 7.0}
    assert card("teacher")["sha256"] == told["sha256"]


def test_few_val_images_leave_it_at_one(chain):
    values = tiny_values()
    values["data"]["val"] = 0.01
    write_params(chain, values)
    STAGES["prepare"]()
    assert 0 < tasks.dataset("base").num("val") < 30
    STAGES["teacher"]()
    assert card("teacher")["metrics"]["temperature"] == 1.0
