"""`dvc repro` where things are odd: two at once, no git, no home, another locale, odd folders."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import same_files, write_params
from projects import dvc, environment, project, short_values

pytestmark = pytest.mark.slow


def training(folder) -> bool:
    return bool(list(folder.glob(".lineage/resume/teacher-*/step-*")))


def test_two_at_once_are_told_so_and_the_first_goes_on(tmp_path):
    values = short_values()
    values["teacher"]["training"] = {"steps": 100_000, "evaluate_every": 100_000}
    folder = project(tmp_path, values)
    quick = environment() | {"LINEAGE_CHECKPOINT_SECONDS": "0.2", "LINEAGE_TRACKING": "off"}
    command = [sys.executable, "-m", "dvc", "repro", "teacher"]
    first = subprocess.Popen(command, cwd=folder, env=quick, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not training(folder):
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        second = subprocess.run(command, cwd=folder, env=quick, capture_output=True, text=True)
        assert second.returncode != 0 and "busy" in second.stderr + second.stdout, second
        assert first.poll() is None
    finally:
        os.killpg(first.pid, signal.SIGTERM)
        first.wait(30)


def test_without_git_and_home_in_another_locale_the_bytes_are_the_same(tmp_path):
    whole = project(tmp_path, short_values())
    dvc(whole, "repro", "teacher")
    odd = tmp_path / "zip ünï 'x'"
    shutil.copytree(
        whole, odd, ignore=shutil.ignore_patterns(".git", "models", "prepared", "cache")
    )
    (odd / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    write_params(odd, short_values())
    bare = {
        "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "LC_ALL": "C",
        "LINEAGE_THREADS": "1",
        "LINEAGE_DEVICE": "cpu",
    }
    command = [sys.executable, "-m", "dvc", "repro", "teacher"]
    done = subprocess.run(command, cwd=odd, env=bare, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    same_files(whole / "models/teacher", odd / "models/teacher")
