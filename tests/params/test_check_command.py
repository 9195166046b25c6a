"""`python -m pipeline check`: every fault, quickly; nothing is written."""

import os
import resource
import subprocess
import sys

import pytest
from conftest import ROOT, tiny_values, write_params

from pipeline.__main__ import main
from pipeline.running.entry import enter


def test_check_reports_every_fault_and_writes_nothing(tmp_path, monkeypatch, capsys):
    values = tiny_values() | {"seed": -1, "finall": "g2"}
    values["training"]["stps"] = 3
    write_params(tmp_path, values)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["pipeline", "check"])
    with pytest.raises(SystemExit) as caught:
        enter(main)
    said = capsys.readouterr()
    assert caught.value.code == 2 and said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 3 and all(line.startswith("error: params.yaml:") for line in lines)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["params.yaml"]


def test_check_shows_the_chain_at_once_without_libraries_that_only_stages_need(project):
    """A process of its own; the interpreter names on stderr what it imports."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-X", "importtime", "-m", "pipeline", "check"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 10
    assert done.returncode == 0
    assert done.stdout == "params.yaml is right: teacher -> g1 -> g2 -> t1\n"
    modules = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert {"pipeline.params.check", "pipeline.params.schema", "torch"} <= modules
    slow = {"torchvision", "kornia", "sklearn", "mlflow", "matplotlib", "jinja2"}
    assert not slow & modules
    assert [p.name for p in project.rglob("*") if p.is_file()] == ["params.yaml"]
