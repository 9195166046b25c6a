"""Ten methods as short stubs through real tasks: the loop and the learner need not know of them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import read_curves, same_files
from counts import Count
from jobs import extension, with_tasks
from learners import equal_states
from stubs import STUBS

from pipeline.continual import extend as extending
from pipeline.continual.extend import extend
from pipeline.continual.extension import Extension
from pipeline.networks import checkpoint
from pipeline.running import resume
from pipeline.training.learner import Learner, below
from pipeline.training.method import Method, methods_block
from stages import prepare_task

# those that no method of the families stands for
EVERY = pytest.mark.parametrize("name", ["hints", "flexmatch", "gates", "ensemble"])
RECIPE = {"steps": 8, "evaluate_every": 4}
T1 = {"classes": ["8"], "ce_over": "all", "training": RECIPE}
T2 = T1 | {"base": "t1", "classes": ["9"]}


@pytest.fixture(scope="module")
def prepared(finished, tmp_path_factory) -> Path:
    """The images of two tasks. Read only."""
    folder = tmp_path_factory.mktemp("tasks")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with_tasks(folder, t1=T1, t2=T2)
        for name in ("t1", "t2"):
            prepare_task.main([name])
    return folder / "data/prepared"


@pytest.fixture(autouse=True)
def tasks(chain, prepared, monkeypatch):
    """Two tasks, and a second teacher for the stub that takes several."""
    with_tasks(chain, t1=T1, t2=T2)
    shutil.copytree(prepared, chain / "data/prepared", dirs_exist_ok=True)
    begin = extending.begin

    def begun(job, methods):
        setting = begin(job, methods)
        if "ensemble" in methods:
            other = checkpoint.load("models/g1")[0].requires_grad_(False)
            setting = replace(setting, teachers={**setting.teachers, "g1": other})
        return setting

    monkeypatch.setattr(extending, "begin", begun)


def task(*names: str, of: str = "t1") -> Extension:
    """A task that learns by these stubs."""
    job, block = extension(of), methods_block(STUBS)
    options = job.task.model_copy(update={"methods": block.model_validate({n: {} for n in names})})
    return replace(job, config=replace(job.config, options=options))


def shipped(name: str = "t1") -> tuple[dict, dict]:
    """Weights and memory of a model."""
    network, card = checkpoint.load(f"models/{name}")
    return network.state_dict(), checkpoint.load_memory(f"models/{name}", card)


@EVERY
def test_it_changes_the_model_and_its_loss_is_in_the_curve(chain, name):
    extend(task())
    plain, _ = shipped()
    extend(task(name))
    assert not equal_states(plain, shipped()[0])
    [row, *_] = read_curves(chain / "models/t1/curves.csv")
    if STUBS[name].losses is not Method.losses:
        assert float(row[name]) > 0


@EVERY
@pytest.mark.parametrize("keep", ["last", "best"])
def test_interrupted_and_resumed_it_makes_the_same_bytes(chain, monkeypatch, name, keep):
    """Weights, memory, card and curve; state and module are in the checkpoint, bit for bit."""
    with_tasks(chain, t1=T1 | {"training": RECIPE | {"keep": keep}})
    monkeypatch.setenv("LINEAGE_CHECKPOINT_SECONDS", "0.000001")
    states, step, newest = {}, Learner.step, resume.Resume.newest

    def noted(self, batch):
        states[self.num_steps] = {key: value.clone() for key, value in self.state().items()}
        return step(self, batch)

    monkeypatch.setattr(Learner, "step", noted)
    extend(task(name))
    whole = dict(states)
    shutil.move(chain / "models/t1", chain / "whole")

    def cut(self, batch):
        if self.num_steps == 5:
            raise KeyboardInterrupt
        return noted(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", cut)
        with pytest.raises(KeyboardInterrupt):
            extend(task(name))
    states.clear()
    results = []
    monkeypatch.setattr(
        resume.Resume, "newest", lambda self: results.append(newest(self)) or results[-1]
    )
    extend(task(name))
    assert results[0] is not None and list(states) == [5, 6, 7]
    assert all(equal_states(state, whole[num]) for num, state in states.items())
    same_files(chain / "whole", chain / "models/t1")
    carries = {key.split("/")[0] for key in whole[5]} & {"method", "module"}
    assert carries == CARRIES.get(name, set())


CARRIES = {
    "ewc": {"method"},
    "replay": {"method"},
    "hints": {"module"},
    "flexmatch": {"method"},
    "generator": {"method"},
    "gates": {"module"},
}
KEPT = {"ewc", "replay", "bic", "flexmatch", "generator", "masks", "gates"}


@EVERY
def test_the_next_task_gets_what_it_kept(chain, monkeypatch, name):
    """From `memory.safetensors`, before it starts."""
    extend(task(name))
    _, kept = shipped()
    assert {key.split("/")[0] for key in kept} == ({name} if name in KEPT else set())
    given, start = [], STUBS[name].start

    def noted(self, setting):
        given.append(dict(self.state))
        return start(self, setting)

    monkeypatch.setattr(STUBS[name], "start", noted)
    extend(task(name, of="t2"))
    assert equal_states(given[0], below(kept, f"{name}/"))
    assert checkpoint.classes(checkpoint.read_card("models/t2")) == list("0123456789")


@pytest.mark.parametrize("name", ["ewc", "replay"])
def test_what_learns_from_the_bases_images_has_them_before_the_first_task(monkeypatch, name):
    """By draws of its own, whatever was drawn before."""
    given, start = [], STUBS[name].start
    monkeypatch.setattr(STUBS[name], "start", lambda self, s: given.append(dict(self.state)))
    for seed in (1, 2):
        torch.manual_seed(seed)
        extend(task(name))
    assert given[0] and equal_states(*given) and start is Method.start


@EVERY
def test_every_image_that_it_sends_through_a_network_counts(monkeypatch, name):
    """But for those of `finish`, which is not training."""
    count = Count(monkeypatch)
    seen, finish = [], STUBS[name].finish

    def noted(self, setting):
        if setting.teachers:  # of the task itself, not of those before
            seen.append(count.total)
        return finish(self, setting)

    monkeypatch.setattr(STUBS[name], "finish", noted)
    if name in ("ewc", "replay"):  # what they learn from the base's images does not count
        monkeypatch.setattr(extending, "recall", _counting_from(count, extending.recall))
    try:
        card = extend(task(name))
    finally:
        count.close()
    assert card["images_seen"] == seen[0] > 0


def _counting_from(count, recall):
    def recalled(*given):
        recall(*given)
        count.by_network.clear()

    return recalled


def test_all_at_once(chain):
    """Eight of them in one task (a mask leaves no weight to penalise or to fold gates into)."""
    together = [name for name in STUBS if name not in ("masks", "ensemble")]
    extend(task(*together))
    _, kept = shipped()
    assert {key.split("/")[0] for key in kept} == KEPT - {"masks"}
    row = read_curves(chain / "models/t1/curves.csv")[-1]
    assert {n for n in together if STUBS[n].losses is not Method.losses} <= set(row)


def test_replayed_images_are_of_the_old_classes_and_count_in_the_softmax(monkeypatch):
    streams, columns, step = [], [], Learner.step

    def noted(self, batch):
        streams.append(batch["replay"].targets.argmax(1))
        columns.append(batch["labelled"].columns)
        return step(self, batch)

    monkeypatch.setattr(Learner, "step", noted)
    job = task("replay")
    job = replace(
        job, config=replace(job.config, options=job.task.model_copy(update={"ce_over": "auto"}))
    )
    extend(job)
    assert set(torch.cat(streams).tolist()) <= set(range(8)) and columns[0] == slice(0, 9)


def test_made_up_images_leave_the_labelled_ones_as_they_are(monkeypatch):
    """Floats in 0..1 next to bytes in 0..255: the network sees the same labelled images."""
    inside, forward = [], Learner.forward

    def noted(self, images):
        hook = self.network.backbone.register_forward_pre_hook(
            lambda _, given: inside.append(given[0][:3].clone())
        )
        output = forward(self, images)
        hook.remove()
        return output

    monkeypatch.setattr(Learner, "forward", noted)
    for names in ((), ("generator",)):
        extend(task(*names))
    torch.testing.assert_close(inside[:8], inside[8:])
