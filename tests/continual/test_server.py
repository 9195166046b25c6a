"""The runs of a task on a real MLflow server."""

import os
import socket
import subprocess
import sys
import time

import pytest

from pipeline import tracking
from stages import extend, prepare_task, report


@pytest.mark.slow
def test_a_real_server_gets_the_runs(chain, monkeypatch, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store = ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db"]
    place = ["--artifacts-destination", str(tmp_path / "server"), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "server", *store, *place, "--port", str(port)]
    server = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
        monkeypatch.delenv("LINEAGE_TRACKING")
        prepare_task.main(["t1"])
        extend.main(["t1"])
        report.main()
        from mlflow import MlflowClient

        client = MlflowClient(tracking.uri())
        (experiment,) = client.search_experiments(filter_string="name = 'lineage'")
        (run,) = client.search_runs([experiment.experiment_id])
        assert "run.extend/t1" in run.data.tags
        champion = client.get_model_version_by_alias("lineage-digits", "champion")
        assert champion.tags["name"] == run.data.tags["ships"]
    finally:
        server.terminate()
        server.wait(timeout=30)
