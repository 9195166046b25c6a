"""Times are kept apart from the results, by stage, and only of stages."""

import sys

import pytest

from pipeline import __main__ as command
from pipeline.running import times
from pipeline.running.entry import enter
from stages import prepare_task


@pytest.fixture
def run_as(project, monkeypatch):
    """Enter a `main` as `python -m <module> <words>` does."""

    def run(main, module: str, *words: str) -> None:
        spec = type("Spec", (), {"name": module})
        monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
        monkeypatch.setattr("sys.argv", [module, *words])
        enter(main)

    return run


def test_a_stage_leaves_its_time(run_as):
    run_as(prepare_task.main, "stages.prepare_task", "t1")
    known = times.read()
    assert list(known) == ["prepare_task@t1"] and 0 <= known["prepare_task@t1"] < 60


def test_another_command_leaves_none(run_as):
    run_as(command.main, "pipeline.__main__", "check")
    assert times.read() == {}
