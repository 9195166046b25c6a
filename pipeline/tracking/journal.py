"""What a stage reports, kept on disk first: no stage waits for MLflow, none loses by it.

<project>/.lineage/journal/<when>-<stage>/lock           held while the stage runs
<project>/.lineage/journal/<when>-<stage>/events.jsonl   a line for each call, with its time
<project>/.lineage/journal/<when>-<stage>/files/         what is to be kept with the run

Importing MLflow takes longer than many a stage does, so `sending` brings journals there when it is
worth it: while a stage runs for more than a minute, at the end of a stage where a server is
watched, else with the report, or before MLflow's page is opened.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from pipeline.core import machine
from pipeline.running.tracker import NullTracker
from pipeline.tracking import sending
from pipeline.tracking.tracker import described, flat, is_server

LIVE_AFTER = 60.0  # seconds after which a stage shows its curves while it runs


class Journal(NullTracker):
    """A run on disk, to be sent to MLflow.

    Args:
        experiment: of MLflow.
        name: of the run.
        tags: to find it by.
        waits: for `sending.ended`, and is sent neither while it is written nor at its end.

    Raises:
        OSError: the disk does not take it.
    """

    def __init__(self, experiment: str, name: str, tags: Mapping[str, str], waits: bool = False):
        plain = re.sub(r"[^\w@.-]", "_", name)  # a name may hold what no folder's may
        self.folder = folder() / f"{time.time_ns()}-{plain}"
        self.folder.mkdir(parents=True)
        self._held = FileLock(self.folder / "lock")
        self._held.acquire()
        self._waits, self._live_from = waits, time.monotonic() + LIVE_AFTER
        self._failed = self._warned = False
        known = {"journal": self.folder.name}  # by which a run is found that was not heard of again
        self._record("start", experiment, name, described(tags) | known)

    def params(self, params: Mapping[str, Any]) -> None:
        self._write("params", {key: str(value) for key, value in flat(params).items()})

    def metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        self._write("metrics", {key: float(value) for key, value in metrics.items()}, step)
        if self._live:
            sending.one(self.folder)

    def tags(self, tags: Mapping[str, str]) -> None:
        self._write("tags", {key: str(value) for key, value in tags.items()})

    def artifact(self, path: Path | str, folder: str | None = None) -> None:
        """The file as it is now: before it is sent the stage may run again."""
        if self._failed:
            return
        kept = self.folder / "files" / (folder or "") / Path(path).name
        try:
            _keep(Path(path), kept)
        except OSError as error:
            self._warn(error)
        else:
            self._write("artifact", str(kept.relative_to(self.folder)), folder)

    def link(self, outputs: Mapping[str, str], why: str, rows: Sequence[Sequence[str]]) -> None:
        self._write("link", dict(outputs), why, [list(row) for row in rows])

    def register(self, source: str, name: str, score: float, sha256: str) -> None:
        """Let the model be registered where the run is sent, see `registry.register`."""
        self._write("register", source, name, score, sha256)

    def end(self, status: str = "FINISHED") -> None:
        self._write("end", status)
        if self._live or (is_server() and not self._waits):
            sending.one(self.folder)
        self._held.release()

    @property
    def _live(self) -> bool:
        return not self._waits and time.monotonic() > self._live_from

    def _write(self, call: str, *args: Any) -> None:
        """What the disk refuses costs the run in MLflow, not the stage; its end is tried still."""
        if self._failed and call != "end":
            return
        try:
            self._record(call, *args)
        except OSError as error:
            self._failed = True
            self._warn(error)

    def _record(self, call: str, *args: Any) -> None:
        event = {"at": int(time.time() * 1000), "call": call, "args": args}
        _append(self.folder / "events.jsonl", json.dumps(event))

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            warn(error)


def folder() -> Path:
    """Where the journals of this project are."""
    return machine.root() / ".lineage" / "journal"


def warn(error: OSError) -> None:
    """Say that a run is not kept."""
    print(  # noqa: T201 (the one warning)
        f"warning: {error.filename or folder()} cannot be written ({error.strerror}); going on "
        "without tracking",
        file=sys.stderr,
    )


def _append(path: Path, line: str) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def _keep(path: Path, kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.unlink(missing_ok=True)
    try:
        os.link(path, kept)  # outputs are replaced, never written over
    except OSError:
        shutil.copy(path, kept)
