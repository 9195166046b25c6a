"""A run in MLflow."""

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from filelock import FileLock

from pipeline.core import machine
from pipeline.running.tracker import NullTracker

PIPELINES = "lineage"
STAGES = "lineage-stages"
FORGIVEN_AFTER = (600, 86_400)  # seconds until a tracker is tried again that failed once, or more


class MlflowTracker(NullTracker):
    """A run in MLflow; the first failure warns once and turns it into a null tracker.

    Attributes:
        at: when what is reported happened, in milliseconds since 1970; None = now.
    """

    def __init__(self, client: Any, run: Any):
        self._client = client
        self.run_id = run.info.run_id
        self.at: int | None = None
        self._failed = False

    def params(self, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        items = [Param(key, str(value)[:6000]) for key, value in flat(params).items()]
        for start in range(0, len(items), 100):  # the most that one call may carry
            batch = items[start : start + 100]
            self._try(lambda batch=batch: self._client.log_batch(self.run_id, params=batch))

    def metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        from mlflow.entities import Metric

        at = self.at or int(time.time() * 1000)
        items = [Metric(key, float(value), at, step) for key, value in metrics.items()]
        self._try(lambda: self._client.log_batch(self.run_id, metrics=items))

    def tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        items = [RunTag(key, str(value)) for key, value in tags.items()]
        self._try(lambda: self._client.log_batch(self.run_id, tags=items))

    def artifact(self, path: Path | str, folder: str | None = None) -> None:
        self._try(lambda: self._client.log_artifact(self.run_id, str(path), folder))

    def end(self, status: str = "FINISHED") -> None:
        self._try(lambda: self._client.set_terminated(self.run_id, status, self.at))

    def stage_links(self, outputs: Mapping[str, str]) -> dict[str, tuple[str, str]]:
        links = {}
        for stage, sha256 in outputs.items():
            query = f"tags.`dvc.stage` = '{stage}' and tags.`output.sha256` = '{sha256}'"
            for run in self._try(lambda query=query: self._search(query)) or []:
                page = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
                links[stage] = (run.info.run_id, page)
        return links

    def link(self, outputs: Mapping[str, str], why: str, rows: Sequence[Sequence[str]]) -> None:
        links = self.stage_links(outputs)
        self.tags({"run." + stage.replace("@", "/"): run for stage, (run, _) in links.items()})
        self.tags({"mlflow.note.content": note(why, rows, links)})

    def attempt(self, call: Callable[[Any], Any]) -> Any:
        return self._try(lambda: call(self._client))

    def _search(self, query: str) -> list:
        experiment = self._client.get_experiment_by_name(STAGES)
        ids = [experiment.experiment_id] if experiment else []
        order = ["attributes.start_time DESC"]
        return self._client.search_runs(ids, query, max_results=1, order_by=order) if ids else []

    def _try(self, call: Callable[[], Any]) -> Any:
        if self._failed:
            return None
        try:
            return call()
        except Exception as error:  # whatever the tracker does, the stage goes on
            self._failed = True
            _give_up(error)
            return None


def uri() -> str:
    """`MLFLOW_TRACKING_URI`, or a database next to the project's params.yaml."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{machine.root()}/mlflow.db"


def is_on() -> bool:
    """Whether runs are tracked at all (`LINEAGE_TRACKING=off` says no)."""
    return os.environ.get("LINEAGE_TRACKING", "on") != "off"


def is_server() -> bool:
    """Whether runs go to a server, where somebody may watch."""
    return urlparse(uri()).scheme in ("http", "https")


def start(experiment: str, name: str, tags: Mapping[str, str]) -> NullTracker:
    """Begin a run in MLflow itself; a null tracker where it is off or cannot be reached.

    Args:
        experiment: of MLflow, e.g. `PIPELINES`.
        name: the run's name.
        tags: besides these the git commit is kept, where there is one.
    """
    tracker = reached(
        lambda client: MlflowTracker(client, begin(client, experiment, name, described(tags)))
    )
    return tracker or NullTracker()


def reached(call: Callable[[Any], Any]) -> Any:
    """`call(client)`; None where tracking is off, or fails now (with a warning) or did lately."""
    if not is_on() or _gave_up_lately():
        return None
    try:
        result = call(connect())
        try_again()
        return result
    except Exception as error:  # a tracker that is not there must not cost the training
        _give_up(error)
        return None


def begin(
    client: Any, experiment: str, name: str, tags: Mapping[str, str], at: int | None = None
) -> Any:
    """A new run of an experiment, as MLflow has it.

    Args:
        at: when it began, in milliseconds since 1970; None = now.
    """
    known = client.get_experiment_by_name(experiment)
    number = known.experiment_id if known else _create(client, experiment)
    return client.create_run(number, at, tags, name)


def connect() -> Any:
    """MLflow's client, on a server that answered within 2 s, or a database made under a lock
    (three first uses at once broke a fresh one)."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    if is_server():
        address = urlparse(uri())
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname, port), timeout=2).close()
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    _folder().mkdir(parents=True, exist_ok=True)
    with FileLock(_folder() / "mlflow.lock", timeout=60):
        client = MlflowClient(uri())
        client.search_experiments(max_results=1)
    return client


def _create(client: Any, experiment: str) -> str:
    with FileLock(_folder() / "mlflow.lock", timeout=60):
        known = client.get_experiment_by_name(experiment)
        if known:
            return known.experiment_id
        place = (machine.root() / "mlartifacts" / experiment).as_uri()
        place = None if is_server() else place
        return client.create_experiment(experiment, artifact_location=place)


def described(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags of a run that begins here and now: the commit and DVC's experiment are added."""
    commit = git_commit()
    extra = {"mlflow.source.git.commit": commit} if commit else {}
    if os.environ.get("DVC_EXP_NAME"):
        extra["dvc.experiment"] = os.environ["DVC_EXP_NAME"]
    return {**extra, **{key: str(value) for key, value in tags.items()}}


def git_commit() -> str | None:
    """The commit that is checked out, where there is git and a repository."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def note(why: str, rows: Sequence[Sequence[str]], links: Mapping[str, tuple[str, str]]) -> str:
    """The description of a pipeline's run: the lineage as a Markdown table with links."""
    lines = [why, "", "| model | taught by | on val | run |", "|---|---|---|---|"]
    for name, taught_by, value, stage in rows:
        run = f"[{stage}]({links[stage][1]})" if stage in links else "not tracked"
        lines.append(f"| {name} | {taught_by} | {value} | {run} |")
    others = [
        f"[{stage}]({link})"
        for stage, (_, link) in links.items()
        if "label" in stage or "prep" in stage
    ]
    return "\n".join([*lines, "", f"Data and labels: {', '.join(others) or 'not tracked'}"])


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` -> `{"a.b": 1}`."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        nested = isinstance(value, Mapping) and value
        result |= flat(value, f"{name}.") if nested else {name: value}
    return result


def _folder() -> Path:
    return machine.root() / ".lineage"


def _marker() -> Path:
    return _folder() / "tracking-failed"


def _gave_up_lately() -> bool:
    """Whether an earlier stage has warned about this very tracker a short while ago."""
    failures = _failures()
    if not failures:
        return False
    return time.time() - _marker().stat().st_mtime < FORGIVEN_AFTER[min(failures, 2) - 1]


def _failures() -> int:
    """How often this very tracker has failed since it last did not."""
    try:
        times, _, address = _marker().read_text(encoding="utf-8").partition("\n")
        return int(times) if address == uri() else 0
    except (OSError, ValueError):
        return 0


def _give_up(error: Exception) -> None:
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    print(  # noqa: T201 (the one warning)
        f"warning: MLflow at {uri()} failed ({reason}); going on without tracking, results are "
        "on disk",
        file=sys.stderr,
    )
    with suppress(OSError):  # a disk that is full must not cost the stage either
        _folder().mkdir(parents=True, exist_ok=True)
        _marker().write_text(f"{_failures() + 1}\n{uri()}", encoding="utf-8")


def try_again() -> None:
    """Forget that a tracker failed lately."""
    with suppress(OSError):
        _marker().unlink(missing_ok=True)
