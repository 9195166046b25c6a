"""What methods keep from task to task."""

from pathlib import Path

import pytest
import torch
from jobs import learn_tasks, with_tasks
from learners import equal_states

from pipeline.continual.options import Methods
from pipeline.core.errors import UserError
from pipeline.networks import checkpoint
from pipeline.params.check import load
from pipeline.training.learner import below
from pipeline.training.method import Method


class Remembers(Method):
    """Keeps the number of images of each task it was shown."""

    consolidates = True
    shown: list[tuple[int, slice, list[slice], int]] = []

    def finish(self, setting):
        images = setting.images.images("labelled")
        old = len(setting.teachers)
        self.shown.append((len(images), setting.blocks.new, setting.blocks.old, old))
        self.state["count"] = self.state.get("count", torch.tensor(0)) + len(images)


def learn_two(folder, monkeypatch) -> None:
    monkeypatch.setitem(Methods.family, "lwf", Remembers)
    monkeypatch.setattr(Remembers, "shown", [])
    one = {"classes": ["8"], "methods": {"lwf": {}}, "labels_per_class": 5}
    with_tasks(folder, t1=one | {"base": "g2"}, t2=one | {"base": "t1", "classes": ["9"]})
    learn_tasks("t1", "t2")


def test_a_method_without_memory_learns_the_base_first_and_then_remembers(chain, monkeypatch):
    learn_two(chain, monkeypatch)
    base = 8 * load().data.labels_per_class
    assert Remembers.shown == [
        (base, slice(0, 8), [], 0),
        (5, slice(8, 9), [slice(0, 8)], 1),
        (5, slice(9, 10), [slice(0, 9)], 1),
    ]
    card = checkpoint.read_card("models/t2")
    assert int(checkpoint.load_memory("models/t2", card)["lwf/count"]) == base + 10


def test_a_task_is_remembered_by_the_weights_that_ship(chain):
    """Their average, where one is kept: those are what later tasks extend."""
    with_tasks(chain, t1={"methods": {"ewc": {}}, "training": {"ema": 0.5}})
    learn_tasks("t1")
    network, card = checkpoint.load("models/t1")
    kept = below(checkpoint.load_memory("models/t1", card), "ewc/mean/1/")
    assert equal_states(kept, dict(network.named_parameters()))


def test_memory_that_changed_on_disk_is_refused(chain, monkeypatch):
    learn_two(chain, monkeypatch)
    path = Path("models/t1/memory.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(UserError, match="sha256 differs"):
        learn_tasks("t2")
