"""Journals of stages, brought to MLflow: each event in its order, with the time it had."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipeline.core import machine
from pipeline.tracking.tracker import MlflowTracker, begin, reached


def one(journal: Path) -> None:
    """Send what a journal holds beyond what was sent before, and remove it once it has ended. The
    caller holds its lock."""
    reached(lambda client: _replay(client, journal, _events(journal)))


def ended(journals: Path) -> None:
    """Send every journal whose stage no longer runs; a stage that left no end was killed."""
    waiting = sorted(path.parent for path in journals.glob("*/events.jsonl"))
    if waiting:
        reached(lambda client: _send_ended(client, waiting))


def _send_ended(client: Any, waiting: list[Path]) -> None:
    with FileLock(machine.root() / ".lineage" / "sending.lock", timeout=120):
        for journal in waiting:
            if journal.is_dir() and not _is_written(journal):  # else another process was quicker
                events = _events(journal)
                if events[-1]["call"] != "end":
                    events.append({"at": events[-1]["at"], "call": "end", "args": ["KILLED"]})
                _replay(client, journal, events)


def _is_written(journal: Path) -> bool:
    """Whether the stage that writes a journal still runs."""
    try:
        FileLock(journal / "lock").acquire(timeout=0).lock.release()
    except Timeout:
        return True
    return False


def _events(journal: Path) -> list[dict]:
    text = (journal / "events.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _replay(client: Any, journal: Path, events: list[dict]) -> None:
    """Send the events after those that `sent` counts: a line each, with the run's id.

    An event whose line is missing may have arrived all the same; it does no harm twice.
    """
    sent = journal / "sent"
    runs = sent.read_text().split() if sent.exists() else []
    tracker = MlflowTracker(client, client.get_run(runs[0])) if runs else None
    with open(sent, "a", encoding="utf-8") as lines:
        for event in events[len(runs) :]:
            tracker = _send(client, tracker, journal, event)
            if tracker.failed:
                return
            print(tracker.run_id, file=lines, flush=True)  # noqa: T201 (not to a person)
    if events[-1]["call"] == "end":
        shutil.rmtree(journal)


def _send(client: Any, tracker: MlflowTracker | None, journal: Path, event: dict) -> MlflowTracker:
    call, args = event["call"], event["args"]
    if tracker is None:  # the first event starts the run
        return begin(client, *args, at=event["at"])
    if call == "artifact":
        path, folder = args
        args = [journal / path, folder]
    tracker.at = event["at"]
    getattr(tracker, call)(*args)
    return tracker
