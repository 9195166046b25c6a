"""Times are kept apart from the results, by stage, and only of stages."""

import subprocess
import sys

from conftest import ROOT

from pipeline.__main__ import main
from pipeline.running import times
from pipeline.running.entry import enter


def test_a_stage_leaves_its_time(project, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    subprocess.run([sys.executable, "-m", "stages.prepare_task", "t1"], check=True)
    known = times.read()
    assert list(known) == ["prepare_task@t1"] and 0 < known["prepare_task@t1"] < 60


def test_another_command_leaves_none(project, monkeypatch):
    spec = type("Spec", (), {"name": "pipeline.__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
    monkeypatch.setattr("sys.argv", ["pipeline", "check"])
    enter(main)
    assert times.read() == {}
