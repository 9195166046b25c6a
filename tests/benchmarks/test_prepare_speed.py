"""The timing of preparing: its images, what it samples, its rows."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from benchmarks import prepare


def test_images_are_drawn_and_prepared(tmp_path):
    for name in ("images", "project"):
        (tmp_path / name).mkdir()
    prepare.draw(tmp_path / "images", 120, 8)
    data = prepare.params(tmp_path / "images", 8)
    assert len(list(tmp_path.rglob("*.jpg"))) == 120 and data["val"] == data["test"] == 0.1
    done, num_bytes = prepare.run(data, 1, tmp_path / "project")
    assert 100 < num_bytes / 192 <= 120  # without copies
    assert done.wall > 0 and done.cpu > 0


def test_splits_of_a_folder_are_not_asked_for_again(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split / "cat").mkdir(parents=True)
    data = prepare.params(tmp_path, 8)
    assert (data["val"], data["test"], data["classes"]) == (0.1, 0.0, ["cat"])


def test_a_run_that_fails_ends_the_timing(tmp_path):
    (tmp_path / "cat").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "cat" / "one.jpg")
    with pytest.raises(SystemExit):
        prepare.run(prepare.params(tmp_path, 8) | {"classes": ["cat", "cow"]}, 1, tmp_path)


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="no such file here")
def test_memory_is_that_of_a_process_and_of_those_below():
    held = "x = b'1' * 30_000_000; "
    below = f"import subprocess, sys; {held}subprocess.run([sys.executable, '-c', sys.argv[1]])"
    code = f"{held}print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", below, code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        own, of_files = prepare.memory(process.pid)
        process.stdin.close()
    assert 60e6 < own < 120e6 and of_files > 0


def test_labels_are_made_of_probabilities():
    probs = prepare.probabilities(3000, 20)
    assert np.allclose(probs.sum(1), 1)
    assert 0 < len(prepare.make_labels(probs).index) <= 3000


@pytest.mark.slow
def test_a_row_is_printed_for_each(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    few = ["--num", "200", "--size", "8", "--rounds", "2", "--labels", "2000", "--classes", "20"]
    monkeypatch.setattr("sys.argv", ["prepare", *few])
    prepare.main()
    assert capsys.readouterr().out.count("[") == 9  # median [quartiles]
