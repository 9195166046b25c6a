"""Whatever the tracking server does, the models are the same, little time is lost, little is said,
and `sync` brings what was missed there, once."""

import shutil
import socket
import time
from pathlib import Path

import pytest
from conftest import same_files
from fake_mlflow import FakeMlflow

from pipeline import tracking
from pipeline.__main__ import main
from pipeline.core.errors import UserError
from pipeline.networks import checkpoint
from pipeline.params.check import load
from pipeline.report.gate import Verdict
from stages import report, student, teacher

LOST = 15  # seconds at most, in all stages together


@pytest.fixture(scope="module", autouse=True)
def imported():
    import mlflow  # noqa: F401 (its import is not what is timed)


@pytest.fixture
def server(monkeypatch):
    made = FakeMlflow()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.address)
    monkeypatch.setenv("LINEAGE_TRACKING", "on")
    yield made
    made.close()


@pytest.fixture
def project(chain):
    """The finished chain without a registry to ask, and without what is run again."""
    from conftest import tiny_values, write_params

    values = tiny_values()
    values["report"] |= {"register": False}
    write_params(chain, values)
    forget()
    return chain


def forget() -> None:
    for folder in ("models/teacher", "models/g1"):
        shutil.rmtree(folder)


def run() -> float:
    """Two stages and what a third records; the seconds that they took."""
    began = time.monotonic()
    teacher.main()
    student.main(["g1"])
    asked = report.experiment(load())
    metrics = {f"val_acc/{name}": 0.1 for name in asked.lineage}
    models = ("teacher", "student@g1"), ("teacher", "g1")
    outputs = {stage: checkpoint.read_card(f"models/{n}")["sha256"] for stage, n in zip(*models)}
    tracking.record_pipeline(asked, metrics, outputs, Verdict("g1", ["so"]), Path("data/prepared"))
    return time.monotonic() - began


def held(server: FakeMlflow) -> dict[str, dict]:
    """What the server has of each run, by its name."""
    names = [made["name"] for made in server.runs.values()]
    assert len(set(names)) == len(names), "no run is there twice"
    return {
        made["name"]: {
            "status": made["status"],
            "params": made["params"],
            "metrics": sorted(made["metrics"]),
            "files": sorted(
                path.split("/artifacts/")[1] for path in server.files if f"/{run_id}/" in path
            ),
        }
        for run_id, made in server.runs.items()
    }


WITHOUT: list = []  # what the server has, and the seconds, where nothing fails; once for all


def quiet(server: FakeMlflow) -> tuple[dict, float]:
    if not WITHOUT:
        seconds = run()
        WITHOUT.extend([held(server), seconds])
        server.runs.clear()
        server.files.clear()
        forget()
    return tuple(WITHOUT)


def seldom(fault: str, after: int):
    return pytest.param(fault, after, marks=pytest.mark.slow)


FAULTS = [
    ("refused", 0),
    ("die", 4),
    ("500", 0),
    ("garbage", 1),
    ("full", 9),
    ("hang", 12),
    seldom("hang", 0),
    *[seldom("die", after) for after in (0, 1, 9, 20)],
    *[seldom("500", after) for after in (1, 4, 9, 20)],
    *[seldom("garbage", after) for after in (0, 4, 9, 20)],
    *[seldom("full", after) for after in (0, 1, 4, 20)],
]


@pytest.mark.parametrize(("fault", "after"), FAULTS)
def test_an_outage_costs_no_result_and_is_made_up_for_once(
    fault, after, server, project, finished, capsys, monkeypatch
):
    expected, seconds = quiet(server)
    assert set(expected) == {"teacher", "student@g1", "t1 of digits"}
    assert "digits" in str(expected["t1 of digits"]["params"])
    capsys.readouterr()
    if fault == "refused":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free.getsockname()[1]}")
    else:
        server.breaks(fault, after)
    assert run() < seconds + LOST
    said = capsys.readouterr()
    assert 1 <= said.err.count("warning: MLflow") <= 2, said.err
    for model in ("teacher", "g1"):
        same_files(project / "models" / model, finished / "models" / model)
    with pytest.raises(UserError, match=r"of \d runs are not there yet; fix: start the server"):
        main(["sync"])
    server.heal()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    main(["sync"])
    assert held(server) == expected
    main(["sync"])
    assert held(server) == expected and "no runs sent" in capsys.readouterr().out


def test_nothing_is_missed_without_a_fault(server, project, capsys):
    run()
    assert all(made["status"] == "FINISHED" for made in server.runs.values())
    (pipeline,) = (made for made in server.runs.values() if made["name"] == "t1 of digits")
    of = {made["name"]: run_id for run_id, made in server.runs.items()}
    assert pipeline["tags"]["run.student/g1"] == of["student@g1"], "sent after the stages' runs"
    capsys.readouterr()
    main(["sync"])
    assert "no runs sent" in capsys.readouterr().out
    assert tracking.unsent() == 0


def test_sync_where_tracking_is_off_says_so(project, monkeypatch):
    monkeypatch.setenv("LINEAGE_TRACKING", "off")
    with pytest.raises(UserError, match="LINEAGE_TRACKING: is off; fix: unset it"):
        main(["sync"])
