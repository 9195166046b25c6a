"""Timings start: their first rows, of as few images and rounds as they take."""

from __future__ import annotations

import importlib
import os
from functools import partial

import pytest
from arms import failing, noting
from conftest import ROOT

from benchmarks import timing
from benchmarks.fixmatch_step import conventional, ours
from benchmarks.photographs import load
from benchmarks.timing import Arm, apart

pytestmark = pytest.mark.slow  # of the benchmarks' own tools

ROUNDS = ["--rounds", "2"]
TIMINGS = {
    "augment": [*ROUNDS, "--sizes", "8"],
    "feeding": [*ROUNDS, "--num", "256", "--size", "8"],
    "fixmatch_step": ROUNDS,
    "gpu": ["--toy"],
    "meta_step": ROUNDS,
    "per_sample": [*ROUNDS, "--num", "2"],
    "train_step": [*ROUNDS, "--batch", "4"],
}


@pytest.mark.parametrize("way", [ours, conventional])
def test_a_fixmatch_step_of_either_way_is_made(monkeypatch, way):
    monkeypatch.chdir(ROOT)
    way(load(64, 32))()


def test_arms_take_turns_in_processes_of_their_own(tmp_path):
    made = {name: Arm(partial(noting, tmp_path / "calls", name)) for name in "AB"}
    seconds = apart(made, rounds=2)
    names, processes = zip(*map(str.split, (tmp_path / "calls").read_text().splitlines()))
    assert names == tuple("ABABAB")  # the first of each to warm up
    assert processes == processes[:2] * 3 and len({*processes, str(os.getpid())}) == 3
    assert all(len(times) == 2 and min(times) >= 0 for times in seconds.values())


@pytest.mark.parametrize("keeps", [True, False])
def test_an_arm_keeps_what_it_frees_where_asked(keeps, monkeypatch, tmp_path):
    """In this process, where it can be seen."""
    asked = []
    monkeypatch.setattr(timing, "keep_freed_memory", lambda: asked.append(True))
    ours, theirs = timing.multiprocessing.Pipe()
    ours.close()
    timing._answer(Arm(partial(noting, tmp_path / "calls", "A"), keeps), 1, theirs)
    assert bool(asked) == keeps


def test_an_arm_that_fails_ends_the_timing():
    with pytest.raises((EOFError, OSError)):
        apart({"A": Arm(failing)}, rounds=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMINGS)
def test_a_timing_prints_its_rows(monkeypatch, capsys, name):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", [name, *TIMINGS[name]])
    importlib.import_module(f"benchmarks.{name}").main()
    assert capsys.readouterr().out.count("[") >= 4  # median [quartiles]
