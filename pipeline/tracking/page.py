"""MLflow's own page, opened where experiments are compared."""

import os
import socket
import subprocess
import sys
import time

from pipeline.core.errors import UserError
from pipeline.tracking.record import send
from pipeline.tracking.tracker import PIPELINES, connect, is_server, uri

HOST = "127.0.0.1"  # nobody else on the network
COMPARE = "?workflowType=machine_learning&compareRunsMode=CHART"  # else it opens on another page


def address(base: str) -> str:
    """The page that compares pipeline runs, on the server `base`.

    Raises:
        UserError: nothing has been tracked yet.
    """
    try:
        experiment = connect().get_experiment_by_name(PIPELINES)
    except Exception as error:  # whatever its kind, the user can only mend the address
        what = f"cannot be reached ({type(error).__name__}: {str(error).splitlines()[0][:120]})"
        raise UserError(uri(), what, "start the server, or unset MLFLOW_TRACKING_URI") from error
    if experiment is None:
        raise UserError(uri(), "holds no pipeline run yet", "run `dvc repro` first")
    return f"{base}/#/experiments/{experiment.experiment_id}/runs{COMPARE}"


def serve(port: int = 0) -> None:
    """Print and open the comparison, with all stages that ran; serve it, where no server is set,
    until interrupted.

    Args:
        port: 0 takes a free one.
    """
    send(now=True)
    if is_server():
        _show(address(uri().rstrip("/")))
        return
    port = port or _free_port()
    page = address(f"http://{HOST}:{port}")
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri()]
    # the server's own jobs are not needed to read runs, and cost a dozen processes
    quick = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(
        [*command, "--workers", "1", "--host", HOST, "--port", str(port)], env=quick
    )
    try:
        _wait(server, port)
        _show(page)
        server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        server.terminate()


def _show(page: str) -> None:
    print(f"compare: {page}", flush=True)  # noqa: T201 (what the command is for)
    if os.environ.get("DISPLAY") or sys.platform in ("darwin", "win32"):
        import webbrowser

        webbrowser.open(page)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _wait(server: subprocess.Popen, port: int) -> None:
    for _ in range(600):
        if server.poll() is not None:
            raise UserError("mlflow ui", "stopped at once", "see its message above")
        try:
            socket.create_connection((HOST, port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
