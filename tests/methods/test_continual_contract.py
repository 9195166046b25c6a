"""Every continual method in real tasks: interrupted, resumed, and from process to process."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import ROOT, read_curves, same_files, tiny_values, write_params
from counts import Count
from jobs import extension, with_tasks
from learners import equal_states

from pipeline.continual import extend as extending
from pipeline.continual.extend import extend
from pipeline.methods.continual import CONTINUAL
from pipeline.networks import checkpoint
from pipeline.running import resume
from pipeline.training.learner import Learner, below
from pipeline.training.method import Method
from stages import extend as extend_stage
from stages import prepare, prepare_task, teacher

EVERY = pytest.mark.parametrize("name", CONTINUAL)
RECIPE = {"steps": 6, "evaluate_every": 3, "batch_size": 4}
QUICK = {
    "lwf": {"warmup_steps": 2},
    "ewc": {"weight": 1.0},
    "mas": {"weight": 0.1},
    "replay": {"memory": 40},
    "bic": {"share": 0.4},
    "generative_replay": {"steps": 3, "batch_size": 8, "latent": 4, "width": 4},
}


def block(*names: str, **values: object) -> dict:
    """A task that learns by these methods and what they need."""
    every = [other for name in names for other in CONTINUAL[name].needs] + [*names]
    scenario = CONTINUAL[names[-1]].scenarios[0] if names else "class"
    methods = {name: QUICK.get(name, {}) for name in every}
    classes = ["8", "9"] if scenario == "task" else ["8"]
    made = {"classes": classes, "scenario": scenario, "methods": methods, "training": RECIPE}
    return made | values


def begin(folder: Path, **blocks: dict) -> None:
    with_tasks(folder, **blocks)
    for name in blocks:
        prepare_task.main([name])


def shipped(name: str = "t1") -> tuple[dict, dict]:
    """Weights and memory of a model."""
    network, card = checkpoint.load(f"models/{name}")
    return network.state_dict(), checkpoint.load_memory(f"models/{name}", card)


@EVERY
def test_it_changes_the_model_and_its_loss_is_in_the_curve(chain, name):
    """Beside what it needs, if it needs another."""
    made = block(name)
    needed = {key: made["methods"][key] for key in CONTINUAL[name].needs}
    begin(chain, t1=made | {"methods": needed})
    extend(extension())
    plain, _ = shipped()
    with_tasks(chain, t1=made)
    extend(extension())
    assert not equal_states(plain, shipped()[0])
    row = read_curves(chain / "models/t1/curves.csv")[-1]
    if CONTINUAL[name].losses is not Method.losses:
        assert float(row[name]) > 0
    if CONTINUAL[name].streams is not Method.streams:
        assert float(row[name]) > 0  # of a stream of its name


@EVERY
def test_interrupted_and_resumed_it_makes_the_same_bytes(chain, monkeypatch, name):
    """Weights, memory, card and curve; every step after it is the same, bit for bit."""
    begin(chain, t1=block(name, training=RECIPE | {"keep": "best"}))
    monkeypatch.setenv("LINEAGE_CHECKPOINT_SECONDS", "0.000001")
    states, step, newest = {}, Learner.step, resume.Resume.newest

    def noted(self, batch):
        if self.methods:  # not the warm-up
            states[self.num_steps] = {key: value.clone() for key, value in self.state().items()}
        return step(self, batch)

    monkeypatch.setattr(Learner, "step", noted)
    extend(extension())
    whole = dict(states)
    shutil.move(chain / "models/t1", chain / "whole")

    def cut(self, batch):
        if self.methods and self.num_steps == 4:
            raise KeyboardInterrupt
        return noted(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", cut)
        with pytest.raises(KeyboardInterrupt):
            extend(extension())
    states.clear()
    found = []
    monkeypatch.setattr(
        resume.Resume, "newest", lambda self: found.append(newest(self)) or found[-1]
    )
    extend(extension())
    assert found[-1] is not None and list(states) == [4, 5]
    assert all(equal_states(state, whole[num]) for num, state in states.items())
    same_files(chain / "whole", chain / "models/t1")


@EVERY
def test_the_next_task_begins_with_what_it_kept(chain, monkeypatch, name):
    """From `memory.safetensors`; what consolidates keeps something."""
    if CONTINUAL[name].scenarios[0] == "task":
        pytest.skip("its own chain is in its own file")
    begin(chain, t1=block(name), t2=block(name, base="t1", classes=["9"]))
    extend_stage.main(["t1"])
    kept = below(shipped()[1], f"{name}/")
    assert bool(kept) == CONTINUAL[name].consolidates
    given, start = [], CONTINUAL[name].start

    def noted(self, setting):
        given.append(dict(self.state))
        return start(self, setting)

    monkeypatch.setattr(CONTINUAL[name], "start", noted)
    extend_stage.main(["t2"])
    assert equal_states(given[0], kept)


@EVERY
def test_every_image_that_it_sends_through_a_network_counts(chain, monkeypatch, name):
    """But for what it learns from earlier images before, and for the end, which is not training."""
    begin(chain, t1=block(name))
    count, seen, recall = Count(monkeypatch), [], extending.recall

    def recalled(*given):
        recall(*given)
        count.by_network.clear()

    def finished(methods, setting):
        if setting.teachers:  # of the task itself, not of those before
            seen.append(count.total)

    monkeypatch.setattr(extending, "recall", recalled)
    finish = extending.finish
    monkeypatch.setattr(extending, "finish", lambda *given: finished(*given) or finish(*given))
    try:
        card = extend(extension())
    finally:
        count.close()
    assert [card["images_seen"]] == seen and seen[0] > 0


# --- three tasks ----------------------------------------------------------------------------------

TOGETHER = [name for name in CONTINUAL if name != "piggyback"]  # which leaves no weight to them


@pytest.fixture
def three(tmp_path, monkeypatch, plain_machine) -> Path:
    """A teacher of seven classes and the images of three tasks."""
    values = tiny_values()
    values["data"]["classes"] = list(range(7))
    values["training"] |= RECIPE
    task = block(*TOGETHER, data={"root": values["data"]["root"]}, labels_per_class=3)
    task["scenario"] = "class"
    chained = zip(("t1", "t2", "t3"), ("teacher", "t1", "t2"), "789")
    values["tasks"] = {n: task | {"base": b, "classes": [c]} for n, b, c in chained}
    values |= {"generations": {}, "baselines": {}, "meta_pseudo_labels": {}, "final": "t3"}
    folder = tmp_path / "three"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_params(folder, values)
    prepare.main(), teacher.main()
    for name in values["tasks"]:
        prepare_task.main([name])
    return folder


def forked(name: str) -> None:
    """A task in a process of its own, which has what this one has imported."""
    process = multiprocessing.get_context("fork").Process(target=extend_stage.main, args=[[name]])
    process.start()
    process.join()
    assert process.exitcode == 0


def anew(name: str) -> None:
    """A task as its command runs it."""
    command = [sys.executable, "-m", "stages.extend", name]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


@pytest.mark.parametrize("apart", [forked, pytest.param(anew, marks=pytest.mark.slow)])
def test_three_tasks_in_three_processes_are_those_of_one(three, apart: Callable[[str], None]):
    """With all methods at once: nothing is passed on but files."""
    names = ("t1", "t2", "t3")
    for name in names:
        extend_stage.main([name])
        shutil.copytree(three / "models" / name, three / "whole" / name)
    for name in names:
        torch.manual_seed(len(name))
        shutil.rmtree(three / "models" / name)
        apart(name)
        same_files(three / "whole" / name, three / "models" / name)
    _, memory = shipped("t3")
    wanted = {name for name in TOGETHER if CONTINUAL[name].consolidates}
    assert {key.split("/")[0] for key in memory} == wanted
    assert checkpoint.classes(checkpoint.read_card("models/t3")) == list("0123456789")
