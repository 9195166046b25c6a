"""Killed in mid-training, run again: the same bytes, and really from where it stopped."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from conftest import ROOT, same_files, tiny_values, write_params

from pipeline.core.errors import UserError
from pipeline.running.resume import Resume
from pipeline.training.learner import Learner
from stages import meta_pseudo_labels, student, teacher


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def state(step: int) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((3,), float(step)), "num_steps": torch.tensor(step)}


def save(steps, stage="teacher") -> Resume:
    resume = Resume(stage, {"seed": 0})
    with pytest.raises(KeyboardInterrupt), resume:
        for step in steps:
            resume.save(step, state(step), {"history": [{"loss": 0.1 + step}]})
        raise KeyboardInterrupt
    return resume


def newest(stage="teacher", depends=None) -> int | None:
    with pytest.raises(KeyboardInterrupt), Resume(stage, depends or {"seed": 0}) as resume:
        results = resume.newest()
        raise KeyboardInterrupt
    return int(results[0]["num_steps"]) if results else None


def checkpoints(resume: Resume):
    return sorted(resume.folder.glob("step-*"))


def test_the_newest_checkpoint_comes_back_with_its_notes(folder):
    resume = save([5, 10])
    results, notes = resume.newest()
    assert torch.equal(results["weight"], torch.full((3,), 10.0))
    assert notes == {"history": [{"loss": 10.1}]}
    assert resume.folder.is_relative_to(folder / ".lineage/resume")


def test_two_checkpoints_are_kept(folder):
    assert [path.name[:14] for path in checkpoints(save([5, 10, 15, 20]))] == [
        "step-000000015",
        "step-000000020",
    ]


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[:50], lambda b: b[:-1] + b"x"])
def test_a_half_written_checkpoint_gives_way_to_the_newest_whole_one(folder, damage):
    path = checkpoints(save([5, 10]))[-1]
    path.write_bytes(damage(path.read_bytes()))
    assert newest() == 5


def test_damaged_checkpoints_do_not_push_out_new_ones(folder):
    for path in checkpoints(resume := save([50, 60])):
        path.write_bytes(b"")
    assert newest() is None
    resume.save(10, state(10), {})
    assert newest() == 10


def test_what_a_kill_left_of_a_checkpoint_is_removed(folder):
    stray = save([5]).folder / ".step-000000010.123.tmp"
    stray.write_bytes(b"half")
    assert newest() == 5
    assert not stray.exists()


@pytest.mark.parametrize("depends", [{"seed": 1}, {"seed": 0, "steps": 3}])
def test_other_params_or_inputs_start_afresh(folder, depends):
    save([5])
    assert newest(depends=depends) is None
    assert newest(stage="student@g1") is None


def test_success_removes_the_checkpoints(folder):
    with Resume("teacher", {"seed": 0}) as resume:
        resume.save(5, state(5), {})
    assert checkpoints(resume) == [] and newest() is None


def test_a_folder_that_dvc_owns_keeps_its_checkpoints_in_the_project(folder, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(folder / "project"))
    assert save([5]).folder.is_relative_to(folder / "project/.lineage/resume")


def test_a_second_trainer_in_this_folder_is_refused(folder):
    with (
        Resume("teacher", {"seed": 0}),
        pytest.raises(UserError, match=f"locked by pid {os.getpid()}; fix: wait"),
        Resume("teacher", {"seed": 0}),
    ):
        pass
    with Resume("teacher", {"seed": 0}):
        pass


def test_a_second_trainer_elsewhere_works_apart_from_the_first(folder, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(folder))
    (folder / "elsewhere").mkdir()
    with Resume("teacher", {"seed": 0}) as first:
        monkeypatch.chdir(folder / "elsewhere")
        with Resume("teacher", {"seed": 0}) as second:
            assert second.folder != first.folder
            second.save(5, state(5), {})
        assert checkpoints(second) == []


def test_a_lock_whose_holder_has_not_written_its_name_yet_is_a_lock_all_the_same(folder):
    with Resume("teacher", {"seed": 0}) as resume:
        for content in (None, ""):
            (resume.folder / "holder").unlink(missing_ok=True)
            if content is not None:
                (resume.folder / "holder").write_text(content)
            with pytest.raises(UserError, match="locked by"), Resume("teacher", {"seed": 0}):
                pass


# --- a real kill ------------------------------------------------------------------------------


def checkpoint_steps(folder) -> list[int]:
    results = (folder / ".lineage/resume").glob("*/step-*.safetensors")
    return sorted(int(path.name.split("-")[1]) for path in results)


def trainer(folder, *command: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LINEAGE_CHECKPOINT_SECONDS": "0.0001"}
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


STEPS = 60
AGAIN = {
    "teacher": lambda: teacher.main(),
    "g1": lambda: student.main(["g1"]),
    "m1": lambda: meta_pseudo_labels.main(["m1"]),
}
COMMANDS = {
    "teacher": ["stages.teacher"],
    "g1": ["stages.student", "g1"],
    "m1": ["stages.meta_pseudo_labels", "m1"],
}
EVERY = pytest.mark.parametrize("model", COMMANDS)


@dataclass
class Killed:
    """A project in which a trainer was killed.

    Attributes:
        folder: the project.
        pid: of the killed trainer.
        refusal: what a second trainer said while the first was frozen.
        reached: step of its newest checkpoint.
    """

    folder: Path
    pid: int
    refusal: str
    reached: int


@pytest.fixture(scope="module")
def killed(finished, tmp_path_factory) -> dict[str, Killed]:
    """For each model a trainer stopped in mid-training, asked for its lock, killed."""
    values = tiny_values()
    longer = {"steps": STEPS, "evaluate_every": 30, "dropout": 0.5}
    values["generations"]["g1"]["training"] = values["teacher"]["training"] = longer
    values["meta_pseudo_labels"]["m1"]["training"] = longer
    del values["meta_pseudo_labels"]["m1"]["fine_tune"]
    folders, processes = {}, {}
    for model, command in COMMANDS.items():
        folders[model] = tmp_path_factory.mktemp("killed") / "project"
        shutil.copytree(finished, folders[model], ignore=shutil.ignore_patterns(".lineage"))
        shutil.rmtree(folders[model] / "models" / model)
        write_params(folders[model], values)
        processes[model] = trainer(folders[model], *command)
    try:
        stop_at_step(5, folders, processes)
        return {
            model: Killed(
                folders[model],
                process.pid,
                refused(folders[model], AGAIN[model]),
                checkpoint_steps(folders[model])[-1],
            )
            for model, process in processes.items()
        }
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()


def stop_at_step(step: int, folders: dict, processes: dict) -> None:
    """Freeze each process as soon as it has kept a checkpoint of `step` or later."""
    waiting, deadline = dict(processes), time.monotonic() + 120
    while waiting:
        for model, process in list(waiting.items()):
            assert process.poll() is None, process.communicate()
            if any(results >= step for results in checkpoint_steps(folders[model])):
                process.send_signal(signal.SIGSTOP)
                del waiting[model]
        assert time.monotonic() < deadline
        time.sleep(0.001)


def refused(folder, train) -> str:
    """What the user reads when `train` starts next to a trainer in `folder`."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(UserError) as caught:
        patch.chdir(folder)
        train()
    return str(caught.value)


@EVERY
def test_a_second_trainer_process_is_refused_in_one_line_that_names_the_first(killed, model):
    assert f"locked by pid {killed[model].pid}; fix: wait" in killed[model].refusal


@EVERY
def test_a_killed_training_ends_in_the_same_bytes_without_starting_over(
    killed, model, tmp_path, monkeypatch
):
    run = killed[model]
    assert 5 <= run.reached < STEPS
    shutil.copytree(run.folder, tmp_path / "whole", ignore=shutil.ignore_patterns(".lineage"))
    steps, step = [], Learner.step
    monkeypatch.setattr(
        Learner, "step", lambda made, given: steps.append(made.num_steps) or step(made, given)
    )
    for folder, first in ((tmp_path / "whole", 0), (run.folder, run.reached)):
        monkeypatch.chdir(folder)
        steps.clear()
        AGAIN[model]()
        assert steps == list(range(first, STEPS))
    for made in [model, "m1-teacher"] if model == "m1" else [model]:
        same_files(run.folder / "models" / made, tmp_path / "whole/models" / made)
    assert checkpoint_steps(run.folder) == []
