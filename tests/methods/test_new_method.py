"""A method added by one file and one line of its family, end to end in a project of its own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT, same_files, tiny_values, write_params
from projects import NOT_CODE, environment
from safetensors.torch import load_file

FILE = '''"""Stay near (after Kirkpatrick et al. 2017, arXiv:1612.00796).

    L = weight * |w - w_old|^2
"""

from __future__ import annotations

from pydantic import Field

from pipeline.core.block import Block
from pipeline.training.method import Method


class StayNear(Method):
    """Stay near (after Kirkpatrick et al. 2017): pulls the first kernel to what it was."""

    class Options(Block):
        """Of stay near."""

        weight: float = Field(1.0, ge=0, le=9, description="of the pull to the old kernel")

    consolidates = True

    def losses(self, network, batch, output):
        kernel = next(network.backbone.parameters())
        return {"stay_near": self.options.weight * (kernel - self.state["last"]).square().sum()}

    def finish(self, setting):
        kernel = next(setting.network.backbone.parameters()).detach().clone()
        self.state = {"first": self.state.get("first", kernel).clone(), "last": kernel}
'''
IMPORT = "from pipeline.methods.continual.stay_near import StayNear"
LINE = '    "stay_near": StayNear,'
TASK = {"base": "teacher", "scenario": "class", "classes": [8], "labels_per_class": 3}
TASK |= {"data": {"root": "data/digits"}}
SCRIPT = """
import shutil
from pipeline.__main__ import main
from pipeline.core.errors import UserError
from pipeline.params.check import load
from stages import extend, prepare, prepare_task, teacher

main(["check"]), main(["params"])
try:
    load("mistyped/params.yaml")
except UserError as error:
    print(*error.lines, sep="\\n")
prepare.main(), teacher.main(), prepare_task.main(["t1"]), prepare_task.main(["t2"])
shutil.copytree(".", "../before")
extend.main(["t1"]), extend.main(["t2"])
"""


def values(**options) -> dict:
    """A teacher and a chain of two tasks that learn by the new method."""
    task = TASK | {"methods": {"stay_near": options}}
    task["training"] = {"steps": 60, "evaluate_every": 20}
    tasks = {"t1": task, "t2": task | {"base": "t1", "classes": [9]}}
    empty = {"generations": {}, "baselines": {}, "meta_pseudo_labels": {}}
    return tiny_values() | empty | {"tasks": tasks, "final": "t2"}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """A process of the project's own code, without tracking."""
    command, variables = [sys.executable, *arguments], environment() | {"LINEAGE_TRACKING": "off"}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Path, list[str]]:
    """A project with the method after both tasks, and the lines that were printed; beside it
    `before`, the same before its tasks."""
    folder = tmp_path_factory.mktemp("new") / "project"
    for name in ("pipeline", "stages", "data"):
        shutil.copytree(ROOT / name, folder / name, ignore=NOT_CODE)
    family = folder / "pipeline/methods/continual"
    (family / "stay_near.py").write_text(FILE)
    text = (family / "__init__.py").read_text()
    entry = text.replace("\n\nCONTINUAL", f"\n{IMPORT}\n\nCONTINUAL").replace(
        "\n}", f"\n{LINE}\n}}"
    )
    assert len(entry.splitlines()) == len(text.splitlines()) + 2
    (family / "__init__.py").write_text(entry)
    write_params(folder, values(weight=2.0))
    (folder / "mistyped").mkdir()
    write_params(folder / "mistyped", values(weigth=2.0))
    return folder, run(folder, "-c", SCRIPT).stdout.splitlines()


def test_params_know_it_and_the_page_explains_it(done):
    _, printed = done
    assert "params.yaml is right: teacher -> t1 -> t2" in printed
    [row] = [row for row in printed if row.startswith("| `stay_near` | continual | Stay near ")]
    assert "https://arxiv.org/abs/1612.00796" in row
    [row] = [row for row in printed if row.endswith("| of the pull to the old kernel |")]
    assert row.startswith("| `weight` | a number, at least 0, at most 9; 1 if left out")
    assert "## `tasks.<name>.methods.stay_near`" in printed


def test_a_mistyped_option_is_one_line_with_the_right_one(done):
    lines = [line for line in done[1] if line.startswith("error: ")]
    assert len(lines) == 2  # one for each task
    for task, line in zip(("t1", "t2"), lines):
        assert f"(tasks.{task}.methods.stay_near.weigth): unknown key 'weigth'" in line
        assert line.endswith("fix: did you mean 'weight'?")


def test_its_loss_is_in_the_curve_and_its_options_in_the_card(done):
    folder, _ = done
    header, *rows = (folder / "models/t1/curves.csv").read_text().splitlines()
    place = header.split(",").index("stay_near")
    assert all(float(row.split(",")[place]) > 0 for row in rows)
    assert '"weight": 2.0' in (folder / "models/t1/card.json").read_text()


def test_the_next_task_gets_its_memory(done):
    """`first` is of the teacher in the memory of both tasks: the second did not begin anew."""
    folder, _ = done
    kernels = {
        name: load_file(folder / f"models/{name}/model.safetensors")["backbone.layers.0.weight"]
        for name in ("teacher", "t1", "t2")
    }
    for name in ("t1", "t2"):
        memory = load_file(folder / f"models/{name}/memory.safetensors")
        assert set(memory) == {"stay_near/first", "stay_near/last"}
        assert torch.equal(memory["stay_near/first"], kernels["teacher"])
        assert torch.equal(memory["stay_near/last"], kernels[name])
    assert not torch.equal(kernels["t1"], kernels["teacher"])


@pytest.mark.slow
def test_killed_and_run_again_it_makes_the_same_bytes(done, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(done[0].parent / "before", folder)
    often = {"LINEAGE_TRACKING": "off", "LINEAGE_CHECKPOINT_SECONDS": "0.000001"}
    command = [sys.executable, "-m", "stages.extend", "t1"]
    process = subprocess.Popen(command, cwd=folder, env=environment() | often)
    resume, deadline = folder / ".lineage/resume", time.monotonic() + 60
    while not list(resume.glob("extend@t1-*/step-*.safetensors")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not (folder / "models/t1").exists()
    assert "t1: going on after step" in run(folder, *command[1:]).stderr
    same_files(folder / "models/t1", done[0] / "models/t1")
