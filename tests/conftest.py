"""What tests share: the real params.yaml made small, projects in temporary folders, a chain run."""

from __future__ import annotations

import copy
import csv
import gc
import importlib
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported anywhere

import numpy as np
import pytest
from filelock import FileLock
from ruamel.yaml import YAML

from pipeline.core.yaml_file import read

ROOT = Path(__file__).parent.parent
STEPS, EVALUATED = 24, [8, 16, 24]  # of every training of the tiny chain
SETTINGS = ("DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME")


@pytest.fixture(autouse=True, scope="session")
def plain_machine():
    """No settings of this machine leak in: one thread, a CPU, no tracking."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [*SETTINGS, *(n for n in os.environ if n.startswith("LINEAGE_"))]:
            patch.delenv(name, raising=False)
        patch.setenv("LINEAGE_THREADS", "1")
        patch.setenv("LINEAGE_DEVICE", "cpu")
        patch.setenv("LINEAGE_TRACKING", "off")
        yield


@pytest.fixture(autouse=True)
def no_settings_left():
    """MLflow writes the address it is given into the environment; no test finds another's."""
    yield
    for name in SETTINGS:
        os.environ.pop(name, None)


@pytest.fixture(autouse=True)
def no_handlers_left():
    """A command that a test enters takes SIGINT and SIGTERM for itself; the tests keep theirs."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True, scope="session")
def quick_files():
    """What stages do again and again in one process is done once: a text of YAML is parsed, the
    digits are read, the code is hashed. No file is synced: none need outlive a crash."""
    import sklearn.datasets

    from pipeline.running import resume

    parse = YAML.load
    trees = cache(lambda kind, text: parse(YAML(typ=list(kind)), text))

    def load(yaml: YAML, stream: object) -> object:
        if not isinstance(stream, str):
            return parse(yaml, stream)
        return copy.deepcopy(trees(tuple(yaml.typ), stream))  # DVC changes what it has loaded

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(YAML, "load", load)
        patch.setattr(sklearn.datasets, "load_digits", cache(sklearn.datasets.load_digits))
        patch.setattr(resume, "_code", cache(resume._code))
        patch.setattr(os, "fsync", lambda file: None)
        yield


# --- two processes ----------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """With pytest-xdist, folders of tests run on every core, all of a file on the same one. This is
    not in `addopts`, which would be an error without the plugin or with `-p no:xdist`."""
    options = config.option
    if not config.pluginmanager.hasplugin("xdist") or hasattr(config, "workerinput"):
        return
    if options.numprocesses is None and any(Path(name).is_dir() for name in config.args):
        options.numprocesses, options.maxprocesses = "auto", options.maxprocesses or 8
    if options.numprocesses and options.dist == "no":
        options.dist = "loadfile"
    options.loadscopereorder = False  # our own order stays


def pytest_collection_modifyitems(items: list) -> None:
    """The longest files first, so that all processes end together: the one that waits for
    `dvc repro`, then those of most tests."""
    sizes = Counter(item.path for item in items)
    slow = {item.path for item in items if "reproduced" in item.fixturenames}
    items.sort(key=lambda item: (item.path not in slow, -sizes[item.path], item.path))


def pytest_collection_finish() -> None:
    """Libraries and tests stay to the end: the garbage collector need not look through them."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """At the end they may go, as libraries expect."""
    gc.unfreeze()


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder that `make` fills once for all processes of this test run. Read only."""
    root = factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / name
    done = folder.with_suffix(".done")
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory, plain_machine) -> Path:
    """A project that `dvc repro` really ran, and committed. Read only."""
    from projects import reproduce

    return made_once(tmp_path_factory, "dvc", reproduce) / "a project"


@cache
def committed() -> dict:
    """The committed params.yaml, read once: tables of tests ask for it by the hundred."""
    return read(ROOT / "params.yaml").values


def real_values() -> dict:
    """The committed params.yaml, as plain values of its own."""
    return copy.deepcopy(committed())


def tiny_values() -> dict:
    """The committed params.yaml with two generations, few steps and thin networks.

    With half as many steps a teacher's BatchNorm statistics are far from its images': it labels
    them all alike at every third seed.
    """
    values = real_values()
    generations = {
        "g1": {"teacher": "teacher", "network": "small_cnn", "width": 0.25},
        "g2": {"teacher": "g1", "network": "wide_cnn", "width": 0.25},
    }
    values["teacher"] = {"network": "small_cnn", "width": 0.25}
    values["training"] |= {
        "steps": STEPS,
        "batch_size": 8,
        "unlabelled_ratio": 2,
        "unlabelled_weight": 1.0,
        "warmup_steps": 2,
        "dropout": 0.3,
        "ema": 0.99,
        "learning_rate": 0.05,
        "labelled_view": "strong",
        "num_ops": 2,
        "magnitude": 10,
        "evaluate_every": EVALUATED[0],
    }
    values["labels"] |= {"threshold": 0.0, "share": 0.5, "balance": "equal", "kind": "soft"}
    task = {"base": "g2", "scenario": "class", "classes": [8, 9], "labels_per_class": 3}
    task["data"] = {"root": values["data"]["root"]}
    task["methods"] = {"lwf": {"warmup_steps": 5}}
    generations["g2"]["fine_tune"] = {"steps": 4, "learning_rate": 0.01, "image_size": 0}
    baseline = {"network": "small_cnn", "width": 0.25}
    baseline["methods"] = {"fixmatch": {"threshold": 0.5}}
    pair = {"teacher": "g1", "teacher_learning_rate": 0.01}  # and the network of g1
    pair |= {"fine_tune": {"steps": 4, "learning_rate": 0.01}}
    pair["fine_tune"]["image_size"] = 0
    values |= {"generations": generations, "baselines": {"b1": baseline}}
    values["meta_pseudo_labels"] = {"m1": pair}
    return values | {"tasks": {"t1": task}, "final": "t1"}


def write_params(folder: Path, values: dict) -> Path:
    """Write `values` as a params.yaml, in a project that has the digits' folder."""
    (folder / "data/digits").mkdir(parents=True, exist_ok=True)
    path = folder / "params.yaml"
    with open(path, "w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(values, file)
    return path


@pytest.fixture
def tiny(tmp_path):
    """The tiny params, checked."""
    from pipeline.params.check import load

    return load(write_params(tmp_path, tiny_values()))


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder with the tiny params.yaml, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, tiny_values())
    return tmp_path


def run_stages(*names: str) -> None:
    """The `main` of some stages that take no argument, in the working folder."""
    for name in names:
        importlib.import_module(f"stages.{name}").main()


def read_curves(path: Path) -> list[dict[str, str]]:
    """The rows of a `curves.csv`."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run_chain() -> None:
    """Every stage's `main` in the working folder, in the order of the graph."""
    from pipeline.params.check import load
    from stages import (
        baseline,
        extend,
        meta_pseudo_labels,
        prepare,
        prepare_task,
        pseudo_label,
        report,
        student,
        teacher,
    )

    params = load()
    prepare.main()
    teacher.main()
    for generation in params.generations:
        pseudo_label.main([generation])
        student.main([generation])
    for pair in params.meta_pseudo_labels:
        meta_pseudo_labels.main([pair])
    for name in params.baselines:
        baseline.main([name])
    for task in params.tasks:
        prepare_task.main([task])
        extend.main([task])
    report.main()


@pytest.fixture(scope="session")
def finished(tmp_path_factory, plain_machine, quick_files) -> Path:
    """A folder where the tiny chain has run. Read only: `chain` gives a copy to change."""

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            write_params(folder, tiny_values())
            run_chain()

    return made_once(tmp_path_factory, "finished", make)


@pytest.fixture
def chain(finished, tmp_path, monkeypatch) -> Path:
    """A copy of the finished chain, which is the working folder."""
    folder = tmp_path / "chain"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """Numbers for inputs."""
    return np.random.default_rng(0)


def flipped(path: Path, places: Iterable[int], mask: int = 1) -> Iterator[int]:
    """Each place in turn, with that byte of the file changed; the file is whole again after."""
    whole = path.read_bytes()
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
        yield place
    path.write_bytes(whole)


def same_files(one: Path, other: Path) -> None:
    """Assert that two folders hold the same files with the same bytes."""
    names = [
        sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())
        for root in (one, other)
    ]
    assert names[0] == names[1]
    differ = [n for n in names[0] if (one / n).read_bytes() != (other / n).read_bytes()]
    assert differ == []
