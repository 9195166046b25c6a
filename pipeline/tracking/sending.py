"""Journals of stages, brought to MLflow: each event in its order, with the time it had."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipeline.core import machine
from pipeline.tracking.tracker import MlflowTracker, begin, reached

REFUSED = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")  # MLflow's words for what will never do


def one(journal: Path) -> None:
    """Send what a journal holds beyond what was sent before, and remove it once it has ended. The
    caller holds its lock."""
    reached(lambda client: _replay(client, journal, _events(journal)))


def ended(journals: Path) -> None:
    """Send every journal whose stage no longer runs; a stage that left no end was killed."""
    waiting = sorted(path for path in journals.glob("*") if path.is_dir())
    if waiting:
        reached(lambda client: _send_ended(client, waiting))


def _send_ended(client: Any, waiting: list[Path]) -> None:
    with FileLock(machine.root() / ".lineage" / "sending.lock", timeout=120):
        for journal in waiting:
            if journal.is_dir() and not _is_written(journal):  # else another process was quicker
                events = _events(journal)
                if not events:  # it has just been made, or nothing was said in it
                    continue
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
    """Those that were written whole."""
    path = journal / "events.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _replay(client: Any, journal: Path, events: list[dict]) -> None:
    """Send the events after those that `sent` counts: a line each, with the run's id.

    An event whose line is missing may have arrived all the same; it does no harm twice. One that
    MLflow refuses for what it says is left out with a warning: it would be refused for ever.
    """
    sent = journal / "sent"
    runs = sent.read_text().split() if sent.exists() else []
    tracker = _Strict(client, client.get_run(runs[0])) if runs else None
    with open(sent, "a", encoding="utf-8") as lines:
        for event in events[len(runs) :]:
            try:
                tracker = _send(client, tracker, journal, event)
            except Exception as error:
                if tracker is None or getattr(error, "error_code", None) not in REFUSED:
                    raise
                _warn(journal, event, error)
            print(tracker.run_id, file=lines, flush=True)  # noqa: T201 (not to a person)
    if events[-1]["call"] == "end":
        shutil.rmtree(journal)


def _send(client: Any, tracker: MlflowTracker | None, journal: Path, event: dict) -> MlflowTracker:
    call, args = event["call"], event["args"]
    if tracker is None:  # the first event starts the run
        return _Strict(client, begin(client, *args, at=event["at"]))
    if call == "artifact":
        path, folder = args
        args = [journal / path, folder]
    tracker.at = event["at"]
    getattr(tracker, call)(*args)
    return tracker


def _warn(journal: Path, event: dict, error: Exception) -> None:
    what = f"{event['call']} of {journal.name}: {error}".splitlines()[0][:200]
    print(f"warning: MLflow refuses {what}; left out", file=sys.stderr)  # noqa: T201


class _Strict(MlflowTracker):
    """Raises what a tracker of a run that goes on would swallow."""

    def _try(self, call: Callable[[], Any]) -> Any:
        return call()
