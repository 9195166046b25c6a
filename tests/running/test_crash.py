"""Whatever moment a training is killed at, the model and every step's losses are those of one that
was not."""

import random
import shutil
import time
from pathlib import Path

import pytest
from conftest import made_once, same_files, tiny_values, write_params
from crash import POINTS, Kill, Nursery, losses

STEPS = 8
COMMANDS = {
    "teacher": ["teacher"],
    "g1": ["student", "g1"],
    "m1": ["meta_pseudo_labels", "m1"],
    "t1": ["extend", "t1"],
    "d1": ["distill", "d1"],
    "s1": ["specialists", "s1"],
}
# One after another in one training: each goes on from where the one before was killed. Those of a
# later phase come after those of an earlier one.
KILLS = {
    "teacher": [
        Kill("before_step", "teacher", 0),
        Kill("after_step", "teacher", 2),
        Kill("half_checkpoint", "teacher", 3),
        Kill("in_evaluation", "teacher", 4),
        Kill("before_rename", "teacher", 5),
        Kill("after_rename", "teacher", 7),
        Kill("in_evaluation", "teacher", 8),
        Kill("without_card", "teacher"),
        Kill("before_the_end", "teacher"),
    ],
    "g1": [
        Kill("half_checkpoint", "g1", 1),
        Kill("before_step", "g1", 4),
        Kill("after_step", "g1", 6),
        Kill("after_rename", "g1", 8),
        Kill("after_step", "g1.fine_tune", 1),
        Kill("in_evaluation", "g1.fine_tune", 2),
        Kill("without_card", "g1"),
    ],
    "m1": [
        Kill("after_step", "m1", 1),
        Kill("before_rename", "m1", 3),
        Kill("before_step", "m1", 5),
        Kill("in_evaluation", "m1", 6),
        Kill("half_checkpoint", "m1", 8),
        Kill("before_step", "m1.fine_tune", 2),
        Kill("without_card", "m1-teacher"),
        Kill("without_card", "m1"),
    ],
    "t1": [
        Kill("after_step", "t1.first-head", 1),
        Kill("half_checkpoint", "t1.first", 3),
        Kill("after_rename", "t1.first", 8),
        Kill("before_step", "t1.head", 2),
        Kill("after_step", "t1", 1),
        Kill("in_evaluation", "t1", 6),
        Kill("before_rename", "t1", 7),
        Kill("without_card", "t1"),
    ],
    "d1": [
        Kill("after_step", "d1.alone", 2),
        Kill("after_rename", "d1.alone", 4),
        Kill("before_step", "d1", 1),
        Kill("half_checkpoint", "d1", 5),
        Kill("in_evaluation", "d1", 8),
        Kill("before_the_end", "d1"),
    ],
    "s1": [
        Kill("before_step", "s1.specialist0", 3),
        Kill("after_rename", "s1.specialist0", 8),
        Kill("after_step", "s1.specialist1", 2),
        Kill("before_rename", "s1.specialist1", 6),
        Kill("without_card", "s1"),
    ],
}
# What a checkpoint must hold: without it the training goes on, and ends elsewhere.
PIECES = {
    "teacher": ["optimizer/", "ema/"],
    "g1": ["since"],
    "m1": ["teacher/optimizer/", "baseline"],
    "t1": ["network/"],
    "d1": ["module/hints/"],
}
EVERY = pytest.mark.parametrize("kind", COMMANDS)


def values() -> dict:
    """The tiny chain with a training of each kind, in as many phases as it can have."""
    made = tiny_values()
    short = {"steps": STEPS, "evaluate_every": 2, "ema": 0.5, "keep": "last"}
    made["training"] |= short
    made["teacher"]["methods"] = {"freematch": {}}
    made["generations"]["g1"] |= {
        "methods": {"mean_teacher": {}},
        "training": {"keep": "best"},
        "fine_tune": {"steps": 4, "learning_rate": 0.01, "image_size": 0},
    }
    made["tasks"]["t1"]["methods"] = {"lwf": {"warmup_steps": 3}, "replay": {}}
    made["tasks"]["t1"]["label_with"] = "self"
    made["distilled"] = {
        "d1": {
            "teacher": "g1",
            "network": "small_cnn",
            "width": 0.125,
            "methods": {"hints": {"alone_steps": 4}, "kd": {}},
        }
    }
    made["specialists"] = {"s1": {"teacher": "g1", "num": 2}}
    return made | {"baselines": {}}


@pytest.fixture(scope="session")
def nursery() -> Nursery:
    return Nursery()


@pytest.fixture
def whole(kind, nursery, finished, tmp_path_factory) -> Path:
    """A project in which that training was not interrupted. Read only."""

    def make(folder: Path) -> None:
        inputs = ["data", "models/teacher", "models/g1", "models/g2"]
        for name in inputs:
            shutil.copytree(finished / name, folder / name)
        write_params(folder, values())
        nursery.run(folder, COMMANDS[kind])

    return made_once(tmp_path_factory, f"whole-{kind}", make)


@pytest.fixture
def project(whole, tmp_path) -> Path:
    """The same project before that training."""
    folder = tmp_path / "project"
    shutil.copytree(whole, folder)
    (folder / "losses.jsonl").unlink()
    return folder


def same(kind: str, project: Path, whole: Path) -> bool:
    """Whether the model is that of a training that was not interrupted, to the byte, and no step
    of any run had other losses."""
    for model in [kind, "m1-teacher"] if kind == "m1" else [kind]:
        same_files(project / "models" / model, whole / "models" / model)
    assert losses(project) == losses(whole)
    assert not list((project / ".lineage/resume").glob("*"))


def test_every_point_is_tried_and_forty_kills_in_all():
    kills = [kill for some in KILLS.values() for kill in some]
    assert len(kills) >= 40 and {kill.point for kill in kills} == set(POINTS)
    assert set(KILLS) == set(COMMANDS)


@EVERY
def test_a_training_killed_again_and_again_ends_as_if_it_had_not_been(
    kind, nursery, project, whole
):
    for kill in KILLS[kind]:
        nursery.run(project, COMMANDS[kind], kill)
    nursery.run(project, COMMANDS[kind])
    same(kind, project, whole)


@pytest.mark.parametrize("kind", ["g1"])
def test_killed_at_any_moment(kind, nursery, project, whole):
    killed_at_random(kind, nursery, project, seed=time.time_ns(), kills=3)
    same(kind, project, whole)


@pytest.mark.slow
@EVERY
@pytest.mark.parametrize("seed", range(10))
def test_killed_at_many_moments(kind, seed, nursery, project, whole):
    killed_at_random(kind, nursery, project, seed, kills=8)
    same(kind, project, whole)


def killed_at_random(kind, nursery, project, seed: int, kills: int) -> None:
    """Kill a training so many times, after times that grow until it has ended; then let it end."""
    draw = random.Random(seed)
    for number in range(kills):
        nursery.kill_after(project, COMMANDS[kind], draw.uniform(0.0, 0.3 + 0.2 * number))
    nursery.run(project, COMMANDS[kind])


@pytest.mark.parametrize(("kind", "piece"), [(k, p) for k, some in PIECES.items() for p in some])
def test_a_checkpoint_without_a_piece_ends_elsewhere(kind, piece, nursery, project, whole):
    """The negative control: these tests see what is missing."""
    training = f"{kind}.alone" if kind == "d1" else kind
    nursery.run(project, COMMANDS[kind], Kill("before_step", training, 3))
    nursery.run(project, COMMANDS[kind], lost=piece)
    assert f"lost {piece}" in (project / "said.txt").read_text(encoding="utf-8")
    with pytest.raises(AssertionError):
        same(kind, project, whole)
