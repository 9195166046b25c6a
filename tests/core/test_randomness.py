"""Every draw is a function of its key, in every process."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT

from pipeline.core import randomness

KEYS = [
    (0,),
    (1,),
    (0, "g1"),
    (0, "g2"),
    (0, "g1", "order"),
    (0, "g1", "view"),
    (0, "order", "g1"),
    (0, "g1", "order", 0),
    (0, "g1", "order", 1),
    (1, "g1", "order", 1),
]


def test_every_part_of_a_key_counts():
    draws = [randomness.generator(*key).random(4).tolist() for key in KEYS]
    assert all(one != other for one, other in itertools.combinations(draws, 2))
    seeds = {randomness.torch_seed(*key) for key in KEYS}
    assert len(seeds) == len(KEYS) and all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("key", KEYS)
def test_the_same_key_gives_the_same_draws(key):
    one, other = (randomness.generator(*key).random(9) for _ in range(2))
    assert np.array_equal(one, other)


def test_draws_are_the_same_in_another_process():
    code = "from pipeline.core import randomness; print(randomness.torch_seed(7, 'g1', 'order', 3))"
    seeds = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": number},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for number in ("1", "2")
    }
    assert seeds == {f"{randomness.torch_seed(7, 'g1', 'order', 3)}\n"}


def test_torch_draws_the_same_as_after_its_own_call():
    randomness.seed_torch(7, "g1", "dropout", 3)
    ours = torch.rand(9)
    torch.manual_seed(randomness.torch_seed(7, "g1", "dropout", 3))
    assert torch.equal(ours, torch.rand(9))


@pytest.mark.skipif(torch.accelerator.is_available(), reason="the seeds go to the device")
def test_seeds_for_devices_that_are_not_there_are_not_kept(monkeypatch):
    kept = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", kept.append)
    randomness.seed_torch(7)
    assert kept == []


@pytest.mark.gpu
def test_a_gpu_is_seeded_too():
    randomness.seed_torch(7)
    ours = torch.rand(9, device="cuda")
    randomness.seed_torch(7)
    assert torch.equal(ours, torch.rand(9, device="cuda"))
