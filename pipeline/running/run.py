"""One execution of a stage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pipeline.core import machine
from pipeline.core.machine import Machine
from pipeline.running.tracker import NullTracker


@dataclass(frozen=True)
class Run:
    """What every training of a stage shares.

    Attributes:
        stage: of DVC, e.g. `student@g1`; resume checkpoints are kept under it.
        name: of the model; every random draw depends on it.
        seed: of every random draw.
        machine: settings of this machine.
        device: torch's, to work on.
        tracker: takes the curves.
        depends: JSON-able: all that the result depends on; another value starts afresh.
    """

    stage: str
    name: str
    seed: int
    machine: Machine
    device: Any
    tracker: NullTracker
    depends: Any = None

    def phase(self, name: str) -> Run:
        """A further training of the same model, with draws and checkpoints of its own."""
        return replace(self, stage=f"{self.stage}.{name}", name=f"{self.name}.{name}")


def begin(stage: str, name: str, seed: int, tracker: NullTracker) -> Run:
    """A run on this machine.

    Raises:
        UserError: settings of the machine that are wrong, or a device that is not there.
    """
    settings = machine.load()
    return Run(stage, name, seed, settings, machine.device(settings), tracker)
