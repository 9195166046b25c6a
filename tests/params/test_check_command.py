"""`python -m pipeline check`: every fault, quickly; nothing is written."""

import os
import resource
import subprocess
import sys

from conftest import ROOT, tiny_values, write_params


def check_command(folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pipeline", "check"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_check_reports_every_fault_quickly_and_writes_nothing(tmp_path):
    values = tiny_values() | {"seed": -1, "finall": "g2"}
    values["training"]["stps"] = 3
    write_params(tmp_path, values)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = check_command(tmp_path)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 10
    assert done.returncode == 2 and done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 3 and all(line.startswith("error: params.yaml:") for line in lines)
    assert [p.name for p in tmp_path.iterdir()] == ["params.yaml"]


def test_check_shows_the_chain(project):
    done = check_command(project)
    assert done.returncode == 0
    assert done.stdout == "params.yaml is right: teacher -> g1 -> g2 -> t1\n"


def test_reading_the_params_does_not_wait_for_libraries_that_only_stages_need(project):
    code = "import sys; from pipeline.params.check import load; load(); print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    modules = set(done.stdout.split())
    assert "pipeline.params.check" in modules
    assert not {"torchvision", "kornia", "mlflow", "sklearn", "matplotlib"} & modules
