"""Extension: heads grow, tasks chain, methods remember, the warm-up trains the new head alone."""

import copy
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import tiny_values, write_params

from pipeline import tracking
from pipeline.continual import extend as extending
from pipeline.continual.extend import Extension, extend, grow
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.data import tasks
from pipeline.data.batches import Batches
from pipeline.methods import METHODS
from pipeline.networks.classifier import checkpoint
from pipeline.params.check import load
from pipeline.training.learner import HeadLearner
from pipeline.training.method import Method
from stages import extend as stage
from stages import prepare_task, report

TASK = {"scenario": "class", "labels_per_class": 5, "methods": [], "ce_over": "auto"}


def with_tasks(folder: Path, **blocks: dict) -> None:
    """The tiny params with these tasks, the last of which is final."""
    values = tiny_values() | {"tasks": blocks, "final": list(blocks)[-1]}
    write_params(folder, values)


def learn(*names: str) -> None:
    for name in names:
        prepare_task.main([name])
        stage.main([name])


def test_tasks_chain_and_the_matrix_has_a_row_more(chain):
    one = TASK | {"base": "g2", "classes": ["8"]}
    with_tasks(chain, t1=one, t2=TASK | {"base": "t1", "classes": ["9"]})
    learn("t1", "t2")
    card = checkpoint.read_card("models/t2")
    assert [head["task"] for head in card["heads"]] == ["base", "t1", "t2"]
    assert checkpoint.classes(card) == list("0123456789")
    assert list(card["parents"]) == ["t1"] and set(card["data"]) == {"base", "t1", "t2"}
    report.main()
    metrics = files.read_json("report/metrics.json")
    assert {"task_acc/t2/base", "task_acc/t2/t1", "task_acc/t2/t2", "forgetting/t2"} <= set(metrics)


def extension(name: str = "t1") -> Extension:
    return Extension(name, load(), tasks.dataset(name))


def test_growing_leaves_the_old_logits_as_they_were(chain):
    network, card = checkpoint.load("models/g2")
    images = tasks.known(card, "val")[0].images
    before = network(images).logits
    blocks = grow(network, extension(), torch.device("cpu"))
    after = network(images).logits
    assert torch.equal(after[:, :8], before) and after.shape[1] == 10
    assert blocks.old == [slice(0, 8)] and blocks.new == slice(8, 10)


def test_where_tasks_are_told_every_old_task_has_a_softmax_of_its_own(chain):
    one = TASK | {"base": "g2", "classes": ["8"], "scenario": "task"}
    with_tasks(chain, t1=one, t2=one | {"base": "t1", "classes": ["9"]})
    learn("t1")
    prepare_task.main(["t2"])
    network, _ = checkpoint.load("models/t1")
    assert grow(network, extension("t2"), torch.device("cpu")).old == [slice(0, 8), slice(8, 9)]


@pytest.mark.parametrize(("ce_over", "columns"), [("auto", 2), ("new", 2), ("all", 10)])
def test_targets_range_over_the_logits_of_the_cross_entropy(chain, ce_over, columns):
    job = extension()
    block = slice(0, 10) if ce_over == "all" else slice(8, 10)
    stream = extending.stream(job, block, extending.machine.load(), torch.device("cpu"))
    assert stream.targets.shape[1] == columns
    labels = torch.from_numpy(job.dataset.array("labelled", "label").copy())
    assert torch.equal(stream.targets.argmax(1), labels + columns - 2)
    assert torch.equal(stream.targets.sum(1), torch.ones(len(labels)))


def test_the_warm_up_moves_the_new_head_alone(chain):
    job = extension()
    network, _ = checkpoint.load("models/g2")
    blocks = grow(network, job, torch.device("cpu"))
    before = copy.deepcopy(network.state_dict())
    recipe = job.training.model_copy(update={"ema": 0.0})
    learner = HeadLearner(network, recipe, columns=blocks.new)
    stream = extending.stream(job, blocks.new, extending.machine.load(), torch.device("cpu"))
    batches = Batches({"labelled": stream}, seed=0, model="t1")
    for step in range(3):
        learner.step(batches(step))
    moved = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"heads.task_t1.weight", "heads.task_t1.bias"}


class Remembers(Method):
    """Keeps the number of images of each task it was shown."""

    consolidates = True
    shown: list[tuple[int, int]] = []

    def __init__(self, options):
        super().__init__()
        self.options = options

    def after_task(self, network, images, labels):
        self.shown.append((len(images), int(labels.min())))
        self.memory["count"] = self.memory.get("count", torch.tensor(0)) + len(images)


def test_a_method_without_memory_learns_the_base_first_and_then_remembers(chain, monkeypatch):
    monkeypatch.setitem(METHODS, "lwf", Remembers)
    monkeypatch.setattr(Remembers, "shown", [])
    options = {"weight": 1.0, "temperature": 2.0, "warmup_steps": 0}
    one = TASK | {"base": "g2", "classes": ["8"], "methods": ["lwf"], "lwf": options}
    with_tasks(chain, t1=one, t2=one | {"base": "t1", "classes": ["9"]})
    learn("t1", "t2")
    base = 8 * load().data.labels_per_class
    assert Remembers.shown == [(base, 0), (5, 8), (5, 9)]
    card = checkpoint.read_card("models/t2")
    assert int(checkpoint.load_memory("models/t2", card)["lwf/count"]) == base + 10
    path = Path("models/t2/memory.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(UserError, match="sha256 differs"):
        checkpoint.load_memory("models/t2", card)


def test_images_of_another_shape_are_refused(chain):
    job = extension()
    base = checkpoint.read_card("models/g2") | {"image_shape": [3, 32, 32]}
    with pytest.raises(UserError, match="'g2' takes"):
        extending.check(job, base)


def test_the_same_seed_gives_the_same_bytes(chain):
    before = Path("models/t1/model.safetensors").read_bytes()
    extend(extension(), tracking.NullTracker())
    assert Path("models/t1/model.safetensors").read_bytes() == before


@pytest.mark.slow
def test_a_real_server_gets_the_runs(chain, monkeypatch, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store = ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db"]
    place = ["--artifacts-destination", str(tmp_path / "server"), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "server", *store, *place, "--port", str(port)]
    server = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
        monkeypatch.delenv("LINEAGE_TRACKING")
        learn("t1")
        report.main()
        from mlflow import MlflowClient

        client = MlflowClient(tracking.uri())
        (experiment,) = client.search_experiments(filter_string="name = 'lineage'")
        (run,) = client.search_runs([experiment.experiment_id])
        assert "run.extend/t1" in run.data.tags
        champion = client.get_model_version_by_alias("lineage-digits", "champion")
        assert champion.tags["name"] == run.data.tags["ships"]
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.mark.parametrize("train", ["fc", "new_head"])
def test_a_task_may_train_a_part_of_the_weights(chain, train):
    lwf = {"methods": ["lwf"], "lwf": {"weight": 1.0, "temperature": 2.0, "warmup_steps": 2}}
    one = TASK | lwf | {"base": "g2", "classes": ["8"], "training": {"train": train}}
    with_tasks(chain, t1=one)
    learn("t1")
    before, after = (checkpoint.load(f"models/{name}")[0].state_dict() for name in ("g2", "t1"))
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    heads = {"heads.task_base.weight", "heads.task_base.bias"}
    assert moved == (heads if train == "fc" else set())


def test_a_task_has_its_own_noise(chain):
    with_tasks(chain, t1=TASK | {"base": "g2", "classes": ["8"], "training": {"dropout": 0.75}})
    learn("t1")
    assert checkpoint.read_card("models/t1")["network"]["dropout"] == 0.75
    assert checkpoint.load("models/t1")[0].dropout == 0.75
