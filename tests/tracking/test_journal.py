"""A stage's run is kept on disk first and reaches MLflow once, whole, with its own times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST

from pipeline import tracking
from pipeline.tracking import journal, page, sending
from pipeline.tracking import tracker as trackers


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LINEAGE_TRACKING", "on")
    return tmp_path


class Client:
    """MLflow's, as far as journals use it; `broken` counts down to a call that fails."""

    def __init__(self):
        self.calls, self.broken, self.error = [], 0, ConnectionError("gone")
        self.runs = {}

    def create_run(self, experiment, at, tags, name):
        self.runs[tags["journal"]] = str(len(self.runs) + 1)
        self._call("create_run", at, tags, name)
        return self._run(self.runs[tags["journal"]])

    def get_run(self, run_id):
        if run_id not in self.runs.values():
            raise MlflowException("no such run", error_code=RESOURCE_DOES_NOT_EXIST)
        return self._run(run_id)

    def search_runs(self, experiments, query, max_results):
        return [self._run(run) for name, run in self.runs.items() if f"'{name}'" in query]

    def search_experiments(self, max_results):
        if isinstance(self.error, ConnectionError):
            raise self.error

    def _run(self, run_id):
        info = type("Info", (), {"run_id": run_id, "experiment_id": "2"})
        return type("Run", (), {"info": info})

    def get_experiment_by_name(self, name):
        return type("Experiment", (), {"experiment_id": name})

    def log_batch(self, run_id, params=(), metrics=(), tags=()):
        seen = [(m.key, m.value, m.step, m.timestamp) for m in metrics]
        self._call("log_batch", {p.key: p.value for p in params}, seen, [t.key for t in tags])

    def log_artifact(self, run_id, path, folder):
        with open(path, encoding="utf-8") as file:
            self._call("log_artifact", file.read(), os.path.basename(path), folder)

    def set_terminated(self, run_id, status, at):
        self._call("set_terminated", status, at)

    def _call(self, name, *args):
        self.broken -= 1
        if self.broken == 0:
            raise self.error
        self.calls.append((name, *args))


@pytest.fixture
def client(monkeypatch):
    client = Client()
    monkeypatch.setattr(trackers, "connect", lambda: client)
    return client


def names(client: Client) -> list[str]:
    return [call[0] for call in client.calls]


def ran() -> None:
    """A stage of four calls."""
    with tracking.stage_run("teacher", "abc") as run:
        run.params({"a": {"b": 1}})
        run.metrics({"loss": 0.5}, 3)
        run.tags({"what": "it made"})


def test_a_run_is_sent_once_with_its_own_times(folder, client):
    before = int(time.time() * 1000)
    ran()
    after = int(time.time() * 1000)
    assert client.calls == [], "a short stage waits for nobody"
    tracking.send()
    tracking.send()
    start, params, metrics, tags, end = client.calls
    assert before <= start[1] <= metrics[2][0][3] <= end[2] <= after
    assert start[3] == "teacher" and start[2]["output.sha256"] == "abc"
    assert params[1] == {"a.b": "1"} and metrics[2][0][:3] == ("loss", 0.5, 3)
    assert tags[3] == ["what"] and end[1] == "FINISHED"
    assert list(journal.folder().iterdir()) == []


def test_a_file_is_kept_as_it_was(folder, client):
    path = folder / "card.json"
    path.write_text("first")
    with tracking.stage_run("teacher") as run:
        run.artifact(path, "sub")
    (folder / "other").write_text("second")
    os.replace(folder / "other", path)  # as every output is replaced
    tracking.send()
    assert ("log_artifact", "first", "card.json", "sub") in client.calls


def test_what_the_tracker_refused_is_sent_later_and_nothing_twice(folder, client, capsys):
    ran()
    client.broken = 3
    tracking.send()
    assert names(client) == ["create_run", "log_batch"]
    assert capsys.readouterr().err.count("warning") == 1
    tracking.send()
    assert len(client.calls) == 2, "it failed a moment ago"
    (folder / ".lineage/tracking-failed").unlink()
    tracking.send()
    assert names(client) == ["create_run", *["log_batch"] * 3, "set_terminated"]


def test_what_mlflow_refuses_for_ever_is_left_out_and_blocks_nothing(folder, client, capsys):
    ran()
    client.broken = 2
    client.error = MlflowException("not like that", error_code=INVALID_PARAMETER_VALUE)
    tracking.send()
    assert names(client) == ["create_run", *["log_batch"] * 2, "set_terminated"]
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: MLflow refuses params of ")
    assert "left out (MlflowException: not like that)" in warning
    assert list(journal.folder().iterdir()) == []


def test_a_run_that_cannot_be_sent_now_stays_and_holds_up_no_other(folder, client, capsys):
    ran()
    ran()
    client.broken, client.error = 1, MlflowException("deleted")
    tracking.send()
    assert len([name for name in names(client) if name == "create_run"]) == 1
    assert "MLflow cannot take the run " in capsys.readouterr().err
    assert len(list(journal.folder().iterdir())) == 1
    assert type(tracking.start(tracking.STAGES, "x", {"journal": "x"})) is trackers.MlflowTracker


def test_a_run_that_is_no_longer_there_is_sent_anew(folder, client):
    ran()
    client.broken = 3
    tracking.send()
    client.runs.clear()  # as with another database
    client.calls.clear()
    (folder / ".lineage/tracking-failed").unlink()
    tracking.send()
    assert names(client) == ["create_run", *["log_batch"] * 3, "set_terminated"]


def test_a_run_that_began_unheard_is_found_again(folder, client):
    ran()
    client.broken = 1  # after the run was made
    tracking.send()
    (folder / ".lineage/tracking-failed").unlink()
    tracking.send()
    assert names(client) == [*["log_batch"] * 3, "set_terminated"] and len(client.runs) == 1


def test_a_stage_killed_before_its_first_word_is_no_run(folder, client, capsys):
    for name in ("1-teacher", "2-teacher"):
        (journal.folder() / name).mkdir(parents=True)
    (journal.folder() / "2-teacher" / "events.jsonl").write_text('{"at": 1, "ca')
    ran()
    tracking.send()
    assert names(client) == ["create_run", *["log_batch"] * 3, "set_terminated"]
    assert capsys.readouterr().err == "" and list(journal.folder().iterdir()) == []


def test_mlflows_page_asks_again_though_a_tracker_failed_a_moment_ago(folder, client, monkeypatch):
    ran()
    (folder / ".lineage/tracking-failed").write_text(tracking.uri())
    monkeypatch.setattr(page, "is_server", lambda: True)
    monkeypatch.setattr(page, "connect", lambda: client)
    monkeypatch.setattr(page, "_show", lambda _: None)
    page.serve()
    assert names(client)[-1] == "set_terminated"


def test_a_stage_that_takes_long_is_live(folder, client, monkeypatch):
    monkeypatch.setattr(journal, "LIVE_AFTER", -1.0)
    with tracking.stage_run("teacher") as run:
        run.params({"a": 1})
        run.metrics({"loss": 0.5}, 3)
        assert names(client) == ["create_run", "log_batch", "log_batch"]
        run.metrics({"loss": 0.4}, 6)
        assert len(client.calls) == 4
        tracking.send()
        assert len(client.calls) == 4, "another process leaves it alone while it runs"
    assert names(client)[4:] == ["set_terminated"]
    assert list(journal.folder().iterdir()) == []


def test_a_server_has_a_stage_at_its_end(folder, client, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    ran()
    assert names(client)[-1] == "set_terminated"


def test_mlflows_page_opens_with_all_that_ran(folder, client, monkeypatch):
    ran()
    monkeypatch.setattr(page, "is_server", lambda: True)  # else it starts one
    monkeypatch.setattr(page, "connect", lambda: client)
    shown = []
    monkeypatch.setattr(page, "_show", lambda _: shown.append(names(client)[-1]))
    page.serve()
    assert shown == ["set_terminated"]


def test_tracking_that_is_off_sends_nothing(folder, client, monkeypatch):
    ran()
    monkeypatch.setenv("LINEAGE_TRACKING", "off")
    tracking.send()
    assert client.calls == []


KILLED = """
import os, signal
from pipeline import tracking
run = tracking.stage_run("teacher")
run.metrics({"loss": 1.0}, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_stage_that_was_killed_ends_so(folder, client):
    command = [sys.executable, "-c", KILLED]
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=folder)
    (events,) = folder.glob(".lineage/journal/*/events.jsonl")
    with open(events, "a") as file:
        file.write('{"at": 1, "call": "metr')  # the line it was writing
    tracking.send()
    assert names(client) == ["create_run", "log_batch", "set_terminated"]
    assert client.calls[-1][1] == "KILLED"


def test_a_disk_that_is_full_costs_one_warning(folder, client, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device", "events.jsonl")

    with tracking.stage_run("teacher") as run:
        with monkeypatch.context() as patch:
            patch.setattr(journal, "_append", full)
            run.metrics({"loss": 1.0}, 1)
        run.artifact("nowhere")
        run.metrics({"loss": 1.0}, 2)
    assert capsys.readouterr().err == (
        "warning: events.jsonl cannot be written (No space left on device); going on without "
        "tracking\n"
    )
    tracking.send()
    assert names(client) == ["create_run", "set_terminated"] and client.calls[-1][1] == "FINISHED"


def test_a_marker_that_cannot_be_written_costs_nothing(folder, client):
    (folder / ".lineage").mkdir()
    (folder / ".lineage/tracking-failed").mkdir()
    ran()
    client.broken = 1
    tracking.send()


def test_a_run_whose_first_word_cannot_be_written_is_none(folder, client, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device", "events.jsonl")

    with monkeypatch.context() as patch:
        patch.setattr(journal, "_append", full)
        run = tracking.stage_run("teacher")
    run.end()
    tracking.send()
    assert type(run) is tracking.NullTracker and client.calls == []
    assert capsys.readouterr().err.count("warning") == 1


def test_a_folder_that_cannot_be_made_costs_one_warning(folder, capsys):
    (folder / ".lineage").write_text("a file")
    assert type(tracking.stage_run("teacher")) is tracking.NullTracker
    assert capsys.readouterr().err.count("warning") == 1


def test_events_are_plain_lines(folder):
    ran()
    (events,) = folder.glob(".lineage/journal/*/events.jsonl")
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert [line["call"] for line in lines] == ["start", "params", "metrics", "tags", "end"]
    assert sending._events(events.parent) == lines
