"""Where a chain's CPU seconds go: counted once, by what they went to."""

import json
import os
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from benchmarks import chain
from benchmarks.chain_clock.sitecustomize import Clock

pytestmark = pytest.mark.slow  # of the benchmarks' own tools


def busy(seconds: float) -> None:
    """Use the CPU."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_time_counts_for_the_innermost_kind():
    clock = Clock()
    clock._last = time.process_time()
    with clock.of("training"):
        busy(0.05)
        with clock.of("imports"):
            busy(0.1)
        busy(0.05)
    busy(0.02)
    clock._count()
    assert clock.seconds["imports"] == pytest.approx(0.1, abs=0.03)
    assert clock.seconds["training"] == pytest.approx(0.1, abs=0.03)
    assert clock.seconds["other"] == pytest.approx(0.02, abs=0.02)


def test_what_no_process_counted_is_the_exit():
    seconds = {
        "teacher": {"imports": 2.0, "training": 3.0},
        "report": {"imports": 1.0, "other": 0.5},
        "dvc": {"other": 4.0},
    }
    rows = chain.table(seconds, total=11.0)
    assert list(rows) == ["teacher", "report", "all stages", "around them"]
    assert rows["all stages"]["imports"] == 3.0
    assert rows["around them"] == {"dvc": 4.0, "exit": pytest.approx(0.5)}
    said = []
    chain.show(rows, said.append)
    assert said[0].split()[-1] == "sum" and said[1].split()[-1] == "5.0"
    assert "exit of interpreters 0.5" in said[-1]


def test_a_stage_counts_its_own_time(chain, tmp_path):
    clock = ROOT / "benchmarks" / "chain_clock"
    settings = {
        "PYTHONPATH": f"{clock}{os.pathsep}{ROOT}",
        "LINEAGE_CHAIN_CLOCK": str(tmp_path),
        "LINEAGE_TRACKING": "on",
    }
    before = os.times()
    command = [sys.executable, "-m", "stages.teacher"]
    subprocess.run(command, env=os.environ | settings, check=True, capture_output=True)
    after = os.times()
    kinds = json.loads((tmp_path / "teacher.json").read_text())
    assert min(kinds[kind] for kind in ("imports", "training", "data", "tracking")) > 0
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    assert 0.8 * used < sum(kinds.values()) <= used + 0.05


def test_the_report_counts_what_it_measures_and_draws(chain, tmp_path):
    clock = ROOT / "benchmarks" / "chain_clock"
    settings = {
        "PYTHONPATH": f"{clock}{os.pathsep}{ROOT}",
        "LINEAGE_CHAIN_CLOCK": str(tmp_path),
    }
    command = [sys.executable, "-m", "stages.report"]
    subprocess.run(command, env=os.environ | settings, check=True, capture_output=True)
    kinds = json.loads((tmp_path / "report.json").read_text())
    assert kinds["report"] > kinds["other"]


def test_every_kind_of_work_is_still_there():
    from importlib import import_module
    from operator import attrgetter

    from benchmarks.chain_clock.sitecustomize import WORK

    for module, functions in WORK.items():
        for path, kind in functions.items():
            assert callable(attrgetter(path)(import_module(module))) and kind in chain.KINDS
