"""Times are kept apart from the results, by stage, and only of stages."""

import subprocess
import sys

from conftest import ROOT

from pipeline.running import times


def test_a_stage_leaves_its_time(project, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    subprocess.run([sys.executable, "-m", "stages.prepare_task", "t1"], check=True)
    known = times.read()
    assert list(known) == ["prepare_task@t1"] and 0 < known["prepare_task@t1"] < 60


def test_another_command_leaves_none(project, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    subprocess.run([sys.executable, "-m", "pipeline", "check"], check=True)
    assert times.read() == {}
