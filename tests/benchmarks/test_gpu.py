"""The timing of whole steps on a GPU: every arm is made by what the pipeline runs."""

from __future__ import annotations

import pytest
import torch
from conftest import ROOT

from benchmarks import gpu
from benchmarks.photographs import load
from pipeline.training.capture import WARM_UP

ARMS = {
    *(
        f"{recipe}, {form}"
        for recipe in ("supervised", "FixMatch")
        for form in ("eager", "compiled", "captured")
    ),
    "Meta Pseudo Labels, eager",
    "Meta Pseudo Labels, compiled",
}


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.chdir(ROOT)
    threads = torch.get_num_threads()
    yield gpu.Bench(load(32, 32), 2, toy=True)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("make", ["supervised", "fixmatch", "meta_pseudo_labels"])
def test_an_arm_trains_with_an_average(bench, make):
    learner, batches = getattr(bench, make)("resnet_9")
    step = gpu.following(*gpu.eager(learner, batches))
    before = learner.snapshot()
    for _ in range(2):
        step()
    assert learner.num_steps == 2 and learner.ema is not None
    after = learner.snapshot()
    assert any(not torch.equal(before[key], after[key]) for key in before)
    assert sum(part.images.shape[0] for name, part in batches(0).items() if name != "weak") == 16


def test_a_captured_arm_makes_the_steps_of_the_eager_one(bench):
    one, other = (bench.fixmatch("resnet_9") for _ in range(2))
    plain = gpu.following(*gpu.eager(*one))
    captured = gpu.following(*bench.captured(*other))
    for _ in range(WARM_UP + 2):
        plain()
        captured()
    ours, theirs = one[0].network.state_dict(), other[0].network.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_waits_are_seen():
    values = torch.ones(3)
    assert gpu.waits(lambda: values.sum().item(), "cpu") == {"aten::_local_scalar_dense": 1}
    assert gpu.waits(lambda: values.sum(), "cpu") == {}


@pytest.mark.slow
def test_all_arms_are_printed(bench, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gpu", "--toy"])
    gpu.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if "ms" in line]
    assert len(rows) == 2 * (len(ARMS) + 1) and all("waits: " in row for row in rows)
    assert {row[2:32].strip() for row in rows} == ARMS | {"FixMatch's batch alone"}
