"""Tracking never costs a result: a null twin, a gone server, several first uses at once."""

from __future__ import annotations

import inspect
import os
import socket
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from pipeline import tracking
from pipeline.networks import checkpoint
from pipeline.params.check import load
from pipeline.report import gate
from pipeline.tracking import record
from pipeline.tracking import tracker as trackers
from stages import report, teacher


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LINEAGE_TRACKING", "on")
    return tmp_path


@pytest.fixture
def refused(monkeypatch) -> str:
    """The address of a server that is not there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    return address


def test_the_null_tracker_has_the_real_ones_face():
    def face(kind):
        return {
            name: inspect.signature(call)
            for name, call in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert face(tracking.NullTracker) == face(trackers.MlflowTracker)
    own = {name for name in vars(trackers.MlflowTracker) if not name.startswith("_")}
    assert own == face(tracking.NullTracker).keys()  # none is forgotten and silently null


def test_the_null_tracker_takes_everything():
    with tracking.NullTracker() as null:
        null.params({"a": {"b": 1}})
        null.metrics({"a": 1.0}, 3)
        null.tags({"a": "b"})
        null.artifact("nowhere")
        assert null.stage_links({"teacher": "0"}) == {} and null.attempt(lambda _: 1) is None
    assert null.run_id is None


class Kept(tracking.NullTracker):
    """Remembers what it was given."""

    def __init__(self):
        self.seen_params, self.seen_tags = {}, {}

    def params(self, params):
        self.seen_params |= trackers.flat(params)

    def tags(self, tags):
        self.seen_tags |= tags

    def link(self, outputs, why, rows):
        self.tags({"mlflow.note.content": trackers.note(why, rows, {})})


def test_the_run_of_a_model_has_the_options_of_its_methods(chain):
    wanted = {
        "b1": ("model.methods.fixmatch.threshold", 0.5),
        "t1": ("task.methods.lwf.temperature", 2.0),
    }
    for name, (key, value) in wanted.items():
        run = Kept()
        tracking.record_model(run, checkpoint.read_card(f"models/{name}"))
        assert run.seen_params[key] == value


def test_the_note_of_a_pipeline_names_what_taught_each_model(chain, monkeypatch):
    run, experiment = Kept(), report.experiment(load())
    monkeypatch.setattr(record, "_pipeline_run", lambda *_: run)
    metrics = {f"val_acc/{name}": 0.5 for name in experiment.lineage}
    verdict = gate.Verdict("g2", ["so"])
    record.record_pipeline(experiment, metrics, {}, verdict, chain / "report/none")
    note = run.seen_tags["mlflow.note.content"]
    assert "| teacher | labels | 0.5000 |" in note
    assert "| b1 | labels + fixmatch | 0.5000 |" in note
    assert run.seen_params["final"] == "t1"
    assert run.seen_params["labels.align"] == "none", "which the file leaves out"


def test_nested_params_are_flattened_with_dots():
    nested = {"a": {"b": 1, "c": {"d": [2]}}, "e": {}}
    assert tracking.flat(nested) == {"a.b": 1, "a.c.d": [2], "e": {}}


def test_tracking_that_is_off_is_null(folder, refused, monkeypatch, capsys):
    monkeypatch.setenv("LINEAGE_TRACKING", "off")
    assert type(tracking.stage_run("teacher")) is tracking.NullTracker
    assert capsys.readouterr().err == "" and list(folder.iterdir()) == []


def test_a_refused_server_costs_a_moment_and_one_warning(folder, refused, capsys):
    began = time.monotonic()
    for stage in ("prepare", "teacher", "report"):
        with tracking.stage_run(stage):
            pass
    assert time.monotonic() - began < 5
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: MLflow at {refused} failed (ConnectionRefusedError")
    assert warning.endswith("going on without tracking, results are on disk")


def test_a_refused_server_costs_no_result(chain, refused, monkeypatch, capsys):
    monkeypatch.setenv("LINEAGE_TRACKING", "on")
    (chain / "models/teacher/model.safetensors").unlink()
    teacher.main()
    assert (chain / "models/teacher/model.safetensors").is_file()
    assert capsys.readouterr().err.count("warning") == 1


def test_another_server_or_another_day_is_tried_again(folder, refused, monkeypatch, capsys):
    tracking.stage_run("prepare").end()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{refused}/other")
    tracking.stage_run("prepare").end()
    assert capsys.readouterr().err.count("warning") == 2
    for once_more, age in ((1, 601), (0, 601), (0, 86_000), (1, 86_401)):
        past = time.time() - age
        os.utime(folder / ".lineage/tracking-failed", (past, past))
        tracking.stage_run("prepare").end()
        assert capsys.readouterr().err.count("warning") == once_more


@pytest.mark.slow
def test_a_server_that_hangs_is_given_up_soon(folder, monkeypatch, capsys):
    import mlflow  # noqa: F401 (its import is not what is timed)

    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        began = time.monotonic()
        tracking.stage_run("teacher").end()
        assert time.monotonic() - began < 15
    assert capsys.readouterr().err.count("warning") == 1


class Client:
    """A server that dies at its third call."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        def call(*_, **__):
            self.calls.append(name)
            if len(self.calls) >= 3:
                raise ConnectionError("gone")

        return call


def test_a_server_that_dies_in_mid_run_is_asked_no_more(folder, capsys):
    info = type("Info", (), {"run_id": "1", "experiment_id": "2"})
    client = Client()
    with trackers.MlflowTracker(client, type("Run", (), {"info": info})) as tracker:
        for step in range(5):
            tracker.metrics({"loss": 1.0}, step)
        tracker.artifact("x")
        assert tracker.stage_links({"teacher": "0"}) == {}
    assert len(client.calls) == 3
    assert capsys.readouterr().err.count("warning") == 1
    assert type(tracking.start(tracking.PIPELINES, "x", {})) is tracking.NullTracker


# --- a real database --------------------------------------------------------------------------

FIRST_USES = """
import os
import mlflow
from pipeline import tracking


def use(number):
    with tracking.stage_run(f"stage@{number}", "0" * 64) as tracker:
        tracker.params({"a": {"b": 1}, **{f"p{i}": i for i in range(150)}})
        for step in range(3):
            tracker.metrics({"loss": 1.0 / (step + 1)}, step)
        tracker.artifact("here.txt")
    tracking.send()


children = []
for number in range(3):  # forked, as importing mlflow three times takes long
    child = os.fork()
    if not child:
        use(number)
        os._exit(0)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A project whose fresh database three processes used at once."""
    folder = tmp_path_factory.mktemp("mlflow")
    (folder / "here.txt").write_text("kept")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LINEAGE_TRACKING": "on"}
    command = [sys.executable, "-c", FIRST_USES]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "warning: MLflow" not in done.stderr, done.stderr
    return folder


@pytest.fixture
def client(database, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.chdir(database)
    monkeypatch.setenv("LINEAGE_TRACKING", "on")
    return MlflowClient(tracking.uri())


def results(client, stage):
    experiment = client.get_experiment_by_name(tracking.STAGES)
    query = f"tags.`dvc.stage` = '{stage}'"
    return client.search_runs([experiment.experiment_id], query)


def test_three_first_uses_at_once_leave_three_whole_runs(client, database):
    for number in range(3):
        (run,) = results(client, f"stage@{number}")
        assert run.info.status == "FINISHED"
        assert run.data.params["a.b"] == "1" and len(run.data.params) == 151
        history = client.get_metric_history(run.info.run_id, "loss")
        assert [(m.step, m.value) for m in history] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
        assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["here.txt"]
    assert (database / "mlflow.db").is_file() and (database / "mlartifacts").is_dir()


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit, "KILLED")],
)
def test_a_stage_that_fails_or_is_stopped_ends_its_run_so(client, error, status):
    stage = f"ends.{error.__name__}"
    with pytest.raises(error), tracking.stage_run(stage):
        raise error
    tracking.send()
    (run,) = results(client, stage)
    assert run.info.status == status


def test_the_newest_run_of_an_output_is_linked(client):
    for output in ("abc", "abc", "other"):
        tracking.stage_run("linked", output).end()
    tracking.send()
    newest = results(client, "linked")[1]
    with tracking.start(tracking.PIPELINES, "links", {}) as run:
        links = run.stage_links({"linked": "abc", "stage@1": "none"})
    assert links.keys() == {"linked"} and links["linked"][0] == newest.info.run_id
    assert links["linked"][1].endswith(f"/runs/{newest.info.run_id}")
