"""Asked to stop: the exit code, the checkpoint, the end of the tracker's run, the orphan."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, tiny_values, write_params

from pipeline import tracking

STEPS = 100_000  # never done


@pytest.fixture
def prepared(finished, tmp_path, monkeypatch) -> Path:
    """A folder whose teacher would train for hours."""
    import shutil

    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished / "data", tmp_path / "data")
    values = tiny_values()
    values["training"] |= {"steps": STEPS, "evaluate_every": STEPS}
    write_params(tmp_path, values)
    return tmp_path


def training(folder: Path, command: list[str], **environment: str) -> subprocess.Popen:
    """Start `command` and wait until a resume checkpoint shows that it trains."""
    settings = {"PYTHONPATH": str(ROOT), "LINEAGE_CHECKPOINT_SECONDS": "0.2", **environment}
    child = subprocess.Popen(command, env=os.environ | settings, cwd=folder)
    for _ in range(1200):
        if list(folder.glob(".lineage/resume/teacher-*/step-*")) or child.poll() is not None:
            break
        time.sleep(0.1)
    else:
        child.kill()
    assert child.poll() is None, "it should train"
    return child


def stopped(folder: Path, number: int, **environment: str) -> int:
    """The exit code of a training that is sent a signal, once it has left a checkpoint."""
    child = training(folder, [sys.executable, "-m", "stages.teacher"], **environment)
    child.send_signal(number)
    try:
        code = child.wait(timeout=20)
    finally:
        child.kill()
    assert list(folder.glob(".lineage/resume/teacher-*/step-*"))
    return code


def test_ctrl_c_ends_with_130_and_a_checkpoint(prepared):
    assert stopped(prepared, signal.SIGINT) == 130


def test_sigterm_ends_with_143_a_checkpoint_and_a_killed_run(prepared, monkeypatch):
    assert stopped(prepared, signal.SIGTERM, LINEAGE_TRACKING="on") == 143
    monkeypatch.setenv("LINEAGE_TRACKING", "on")
    tracking.send()
    from mlflow import MlflowClient

    client = MlflowClient(tracking.uri())
    experiment = client.get_experiment_by_name(tracking.STAGES)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "KILLED"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal")
def test_a_trainer_ends_with_the_dvc_that_started_it(prepared):
    script = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'stages.teacher'])"
    parent = training(prepared, [sys.executable, "-c", script], DVC_STAGE="teacher")
    holder = next(prepared.glob(".lineage/resume/teacher-*/holder"))
    child = int(holder.read_text().split("\n")[0])
    parent.kill()
    parent.wait()
    for _ in range(150):
        if not Path(f"/proc/{child}").exists() or "Z" in _state(child):
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    raise AssertionError("the orphan went on")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return "Z"
