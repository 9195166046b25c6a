"""Timings start: their first rows, of as few images and rounds as they take."""

from __future__ import annotations

import importlib

import pytest
from conftest import ROOT

from benchmarks.fixmatch_step import conventional, ours
from benchmarks.photographs import load

ROUNDS = ["--rounds", "2"]
TIMINGS = {
    "augment": [*ROUNDS, "--sizes", "8"],
    "feeding": [*ROUNDS, "--num", "256", "--size", "8"],
    "fixmatch_step": ROUNDS,
    "gpu": ["--toy"],
    "meta_step": ROUNDS,
    "train_step": [*ROUNDS, "--batch", "4"],
}


@pytest.mark.parametrize("way", [ours, conventional])
def test_a_fixmatch_step_of_either_way_is_made(monkeypatch, way):
    monkeypatch.chdir(ROOT)
    way(load(64, 32))()


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMINGS)
def test_a_timing_prints_its_rows(monkeypatch, capsys, name):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", [name, *TIMINGS[name]])
    importlib.import_module(f"benchmarks.{name}").main()
    assert capsys.readouterr().out.count("[") >= 4  # median [quartiles]
