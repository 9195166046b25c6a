"""Journals of stages, brought to MLflow: each event in its order, with the time it had."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


def ended(journals: Path) -> dict[str, str]:
    """Send every journal whose stage no longer runs; a stage that left no end was killed.

    Returns:
        what became of each model that was to be registered, by the journal's name.
    """
    waiting = _oldest_first(journals)
    return (reached(lambda client: _send_ended(client, waiting)) or {}) if waiting else {}


def num_ended(journals: Path) -> int:
    """The journals that are there of stages that no longer run."""
    num = 0
    for journal in _oldest_first(journals):
        with _held(journal) as held:
            num += held
    return num


def _oldest_first(journals: Path) -> list[Path]:
    return sorted(path for path in journals.glob("*") if path.is_dir())


def _send_ended(client: Any, waiting: list[Path]) -> dict[str, str]:
    said = {}
    with FileLock(machine.root() / ".lineage" / "sending.lock", timeout=120):
        for journal in waiting:
            with _held(journal) as held:
                if held and (sentence := _send_whole(client, journal)):
                    said[journal.name] = sentence
    return said


@contextmanager
def _held(journal: Path) -> Iterator[bool]:
    """Whether the stage that writes a journal is over; within, the journal is ours."""
    lock = FileLock(journal / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _send_whole(client: Any, journal: Path) -> str | None:
    """A journal that cannot be sent, where MLflow is there, stays and holds up no other."""
    events = _events(journal)
    if not events:  # nothing was said in it, or another process has sent it meanwhile
        shutil.rmtree(journal)
        return None
    if events[-1]["call"] != "end":
        events.append({"at": events[-1]["at"], "call": "end", "args": ["KILLED"]})
    try:
        return _replay(client, journal, events)
    except Exception as error:
        client.search_experiments(max_results=1)  # raises where MLflow is gone
        _warn(f"cannot take the run {journal.name} now", error)
        return None


def _events(journal: Path) -> list[dict]:
    """Those that were written whole."""
    path = journal / "events.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _replay(client: Any, journal: Path, events: list[dict]) -> str | None:
    """Send the events after those that `sent` counts: a line each, with the run's id. Returns what
    became of a model that was to be registered.

    An event whose line is missing may have arrived all the same; it does no harm twice. One that
    MLflow refuses for what it says is left out with a warning: it would be refused for ever.
    """
    sent = journal / "sent"
    runs = sent.read_text().split() if sent.exists() else []
    tracker = _known(client, runs) if runs else None
    done, said = len(runs) if tracker else 0, None
    with open(sent, "a" if tracker else "w", encoding="utf-8") as lines:
        for event in events[done:]:
            try:
                tracker, sentence = _send(client, tracker, journal, event)
                said = sentence or said
            except Exception as error:
                if tracker is None or getattr(error, "error_code", None) not in REFUSED:
                    raise
                _warn(f"refuses {event['call']} of {journal.name}, which is left out", error)
            print(tracker.run_id, file=lines, flush=True)  # noqa: T201 (not to a person)
    if events[-1]["call"] == "end":
        shutil.rmtree(journal)
    return said


def _known(client: Any, runs: list[str]) -> MlflowTracker | None:
    """The run that was begun; None if it is no longer there, nor perhaps its database."""
    try:
        return _Strict(client, client.get_run(runs[0]))
    except Exception as error:
        if getattr(error, "error_code", None) != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _send(
    client: Any, tracker: MlflowTracker | None, journal: Path, event: dict
) -> tuple[MlflowTracker, str | None]:
    """The run's tracker, and what the call returned."""
    call, args = event["call"], event["args"]
    if tracker is None:  # the first event starts the run
        begun = _begun(client, *args) or begin(client, *args, at=event["at"])
        return _Strict(client, begun), None
    if call == "artifact":
        path, folder = args
        args = [journal / path, folder]
    tracker.at = event["at"]
    if call == "register":
        from pipeline.tracking import registry  # imports torch, which others do without

        return tracker, registry.register(tracker, *args)
    return tracker, getattr(tracker, call)(*args)


def _begun(client: Any, experiment: str, _: str, tags: dict[str, str]) -> Any:
    """The run of this very journal, if MLflow made it and was not heard."""
    known = client.get_experiment_by_name(experiment)
    query = f"tags.`journal` = '{tags['journal']}'"
    runs = client.search_runs([known.experiment_id], query, max_results=1) if known else []
    return runs[0] if runs else None


def _warn(what: str, error: Exception) -> None:
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    print(f"warning: MLflow {what} ({reason})", file=sys.stderr)  # noqa: T201


class _Strict(MlflowTracker):
    """Raises what a tracker of a run that goes on would swallow."""

    def _try(self, call: Callable[[], Any]) -> Any:
        return call()
