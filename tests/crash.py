"""Stages that are killed by SIGKILL at a named point or at any moment, and run again: each in a
process forked from a warm one, which has imported all that they need."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT

from pipeline.core import files, randomness
from pipeline.running import resume
from pipeline.training import loop, watch

ENVIRONMENT = {
    "LINEAGE_CHECKPOINT_SECONDS": "0.000001",
    "LINEAGE_THREADS": "1",
    "LINEAGE_DEVICE": "cpu",
    "LINEAGE_TRACKING": "off",
}
LOSSES, SAID = "losses.jsonl", "said.txt"  # of all runs in a folder


@dataclass(frozen=True)
class Kill:
    """Where a process ends.

    Attributes:
        point: of `POINTS`.
        training: by the name that its draws depend on, e.g. `g1.fine_tune`; or a model's name.
        step: of the training; of a checkpoint, the steps behind it.
    """

    point: str
    training: str
    step: int = 0

    def here(self, training: str, step: int = 0) -> None:
        """The process is at this point."""
        if (training, step) == (self.training, self.step):
            os.kill(os.getpid(), signal.SIGKILL)

    def at_file(self, path: Path) -> bool:
        """Whether a file is the checkpoint of that step."""
        stage = path.parent.name.rpartition("-")[0].split("@")[-1]
        return stage == self.training and path.name.startswith(f"step-{self.step:09d}")


def before_step(kill: Kill) -> None:
    """The checkpoint of the last step is written, the next step has not begun."""
    seeded = randomness.seed_torch

    def seed(number, name, purpose, *step):
        if purpose == "dropout":
            kill.here(name, *step)
        seeded(number, name, purpose, *step)

    randomness.seed_torch = seed


def after_step(kill: Kill) -> None:
    """The step is made, but not kept."""
    look = watch.Watch.look

    def looked(self, state, now):
        kill.here(self._name, self._learner.num_steps)
        look(self, state, now)

    loop.Watch.look = looked


def in_evaluation(kill: Kill) -> None:
    """The step is measured, and nobody told."""
    told = watch.Watch.told

    @contextmanager
    def measured(self) -> Iterator[None]:
        with told(self):
            yield
        kill.here(self._name, self._learner.num_steps)

    loop.Watch.told = measured


def half_checkpoint(kill: Kill) -> None:
    """Half of a checkpoint is on the disk, under its temporary name."""
    write = files.write_bytes

    def half(path, data):
        if kill.at_file(Path(path)):
            with files.written(path, len(data)) as file:
                file.write(data[: len(data) // 2])
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        write(path, data)

    resume.files.write_bytes = half


def _renaming(at: Callable[[Path], bool], after: bool) -> None:
    replace = os.replace

    def renamed(source, target):
        matches = at(Path(target))
        if matches and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        if matches:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = renamed


def before_rename(kill: Kill) -> None:
    """A checkpoint is whole, under its temporary name."""
    _renaming(kill.at_file, after=False)


def after_rename(kill: Kill) -> None:
    """A checkpoint has its name; a third one is there."""
    _renaming(kill.at_file, after=True)


def without_card(kill: Kill) -> None:
    """A model's weights are written, its card is not."""
    _renaming(lambda path: path.parts[-2:] == (kill.training, "card.json"), after=False)


def before_the_end(kill: Kill) -> None:
    """The model is written, the checkpoints are not removed."""
    _renaming(lambda path: path.parts[-2:] == (kill.training, "card.json"), after=True)


POINTS = {
    point.__name__: point
    for point in (
        before_step,
        after_step,
        in_evaluation,
        half_checkpoint,
        before_rename,
        after_rename,
        without_card,
        before_the_end,
    )
}


def _record_losses() -> None:
    """A line for each step that was made: of which training, which, and its losses to the bit."""
    look = watch.Watch.look

    def looked(self, state, now):
        values = {name: float(value).hex() for name, value in state.since[-1].items()}
        with open(LOSSES, "a", encoding="utf-8") as file:
            print(json.dumps([self._name, self._learner.num_steps, values]), file=file)
        look(self, state, now)

    loop.Watch.look = looked


def _child(folder: Path, command: list[str], kill: Kill | None, lost: str) -> None:
    os.chdir(folder)
    os.environ |= ENVIRONMENT
    with open(SAID, "a", encoding="utf-8") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    _record_losses()
    if kill:
        POINTS[kill.point](kill)
    if lost:
        _lose(lost)
    stage, *names = command
    importlib.import_module(f"stages.{stage}").main(*[names] if names else [])
    sys.stdout.flush()
    os._exit(0)


def _lose(piece: str) -> None:
    """A piece of what was kept comes back as a training begins with it."""
    restore, newest = loop._restore, resume.Resume.newest

    def restored(learner, kept):
        fresh = learner.state()

        def poorer(self):
            found = newest(self)
            if not found or not any(name.startswith(piece) for name in found[0]):
                return found
            state = {
                name: fresh.get(name) if name.startswith(piece) else value
                for name, value in found[0].items()
            }
            print(f"lost {piece}")
            return {name: value for name, value in state.items() if value is not None}, found[1]

        resume.Resume.newest = poorer
        return restore(learner, kept)

    loop._restore = restored


class Nursery:
    """Makes processes that run a stage, from one that has imported them all."""

    def __init__(self):
        paths = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["crash_warm"])

    def start(self, folder: Path, command: list[str], kill: Kill | None = None, lost: str = ""):
        """A process that runs a stage in a folder."""
        process = self._context.Process(target=_child, args=(folder, command, kill, lost))
        process.start()
        return process

    def run(
        self, folder: Path, command: list[str], kill: Kill | None = None, lost: str = ""
    ) -> None:
        """Run a stage to its end, or to where it is killed."""
        forget_outputs(folder, command)
        process = self.start(folder, command, kill, lost)
        process.join(120)
        said = (folder / SAID).read_text(encoding="utf-8")[-2000:]
        assert process.exitcode == (-signal.SIGKILL if kill else 0), (kill, process.exitcode, said)

    def kill_after(self, folder: Path, command: list[str], seconds: float) -> bool:
        """Run a stage and kill it after so long; whether it was still running."""
        forget_outputs(folder, command)
        process = self.start(folder, command)
        time.sleep(seconds)
        process.kill()
        process.join(60)
        assert process.exitcode in (0, -signal.SIGKILL), (folder / SAID).read_text()[-2000:]
        return process.exitcode != 0


def forget_outputs(folder: Path, command: list[str]) -> None:
    """As DVC does before it runs a stage."""
    name = command[-1]
    for model in (name, f"{name}-teacher"):
        shutil.rmtree(folder / "models" / model, ignore_errors=True)


def losses(folder: Path) -> dict[tuple[str, int], set[str]]:
    """What was recorded of each step of each training, in all runs."""
    found: dict[tuple[str, int], set[str]] = {}
    for line in (folder / LOSSES).read_text(encoding="utf-8").splitlines():
        training, step, values = json.loads(line)
        found.setdefault((training, step), set()).add(json.dumps(values))
    return found
