"""A server that speaks as much of MLflow's REST as runs and their files need, and that fails as a
script says."""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

API = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/artifacts/"
NEVER = 10**9


class FakeMlflow(ThreadingHTTPServer):
    """Listens on a free port of 127.0.0.1 until it is closed.

    Attributes:
        fault: `""`, `hang`, `die`, `500`, `garbage` or `full`, from the call `after` on.
        calls: that were made.
        runs: by their id: name, status, params, metrics (key, value, step), tags.
        files: the bytes of each, by its path.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault, self.after, self.calls = "", NEVER, 0
        self.runs: dict[str, dict] = {}
        self.experiments: dict[str, str] = {}
        self.files: dict[str, bytes] = {}
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def breaks(self, fault: str, after: int = 0) -> None:
        """Fail in this way from now on, after so many calls."""
        self.fault, self.after = fault, self.calls + after

    def heal(self) -> None:
        """Answer again."""
        self.fault = ""
        self.released.set()

    def close(self) -> None:
        self.heal()
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """Answers one call."""

    server: FakeMlflow

    def log_message(self, *_: object) -> None:
        """Nothing is said."""

    def handle_call(self) -> None:
        """Fail, or answer."""
        server = self.server
        server.calls += 1
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if server.fault and server.calls > server.after:
            self.fail(server.fault)
            return
        url = urllib.parse.urlparse(self.path)
        if url.path.startswith(FILES):
            server.files[urllib.parse.unquote(url.path.removeprefix(FILES))] = body
            self.answer({})
            return
        given = json.loads(body) if body else dict(urllib.parse.parse_qsl(url.query))
        self.answer(*self.done(url.path.removeprefix(API), given))

    do_GET = do_POST = do_PUT = do_PATCH = handle_call

    def fail(self, fault: str) -> None:
        if fault == "hang":
            self.server.released.wait(60)
        elif fault == "500":
            self.answer({"error_code": "INTERNAL_ERROR", "message": "oops"}, 500)
        elif fault == "full":
            self.answer({"error_code": "INTERNAL_ERROR", "message": "No space left"}, 507)
        elif fault == "garbage":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>a proxy's page</html>")
        self.close_connection = True  # and `die` says nothing at all

    def answer(self, value: dict, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def done(self, call: str, given: dict) -> tuple:
        return getattr(self, call.replace("/", "_").replace("-", "_"))(given)

    def missing(self, what: str) -> tuple:
        return {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": what}, 404

    def experiment(self, name: str) -> dict:
        number = self.server.experiments[name]
        return {
            "experiment_id": number,
            "name": name,
            "artifact_location": f"mlflow-artifacts:/{number}",
            "lifecycle_stage": "active",
        }

    def experiments_search(self, _: dict) -> tuple:
        return ({"experiments": [self.experiment(name) for name in self.server.experiments]},)

    def experiments_get_by_name(self, given: dict) -> tuple:
        name = given["experiment_name"]
        if name not in self.server.experiments:
            return self.missing(name)
        return ({"experiment": self.experiment(name)},)

    def experiments_create(self, given: dict) -> tuple:
        number = str(len(self.server.experiments) + 1)
        self.server.experiments[given["name"]] = number
        return ({"experiment_id": number},)

    def run(self, run_id: str) -> dict:
        made = self.server.runs[run_id]
        info = {
            "run_id": run_id,
            "experiment_id": made["experiment"],
            "status": made["status"],
            "start_time": made["start"],
            "artifact_uri": f"mlflow-artifacts:/{made['experiment']}/{run_id}/artifacts",
            "lifecycle_stage": "active",
        }
        tags = [{"key": key, "value": value} for key, value in made["tags"].items()]
        return {"info": info, "data": {"tags": tags}}

    def runs_create(self, given: dict) -> tuple:
        run_id = uuid.uuid4().hex  # MLflow keeps what it knows of one by its id
        self.server.runs[run_id] = {
            "experiment": given["experiment_id"],
            "name": given.get("run_name"),
            "start": given.get("start_time") or int(time.time() * 1000),
            "status": "RUNNING",
            "params": {},
            "metrics": [],
            "tags": {tag["key"]: tag["value"] for tag in given.get("tags", [])},
        }
        return ({"run": self.run(run_id)},)

    def runs_get(self, given: dict) -> tuple:
        if given["run_id"] not in self.server.runs:
            return self.missing(given["run_id"])
        return ({"run": self.run(given["run_id"])},)

    def runs_search(self, given: dict) -> tuple:
        pairs = [part.split(" = ") for part in given.get("filter", "").split(" and ") if part]
        wanted = {key.split("`")[1]: value.strip("'") for key, value in pairs}
        found = [
            self.run(run_id)
            for run_id, made in self.server.runs.items()
            if made["experiment"] in given["experiment_ids"]
            and wanted.items() <= made["tags"].items()
        ]
        return ({"runs": found},)

    def runs_log_batch(self, given: dict) -> tuple:
        made = self.server.runs[given["run_id"]]
        made["params"] |= {one["key"]: one["value"] for one in given.get("params", [])}
        made["tags"] |= {one["key"]: one["value"] for one in given.get("tags", [])}
        made["metrics"] += [
            (one["key"], one["value"], one.get("step", 0)) for one in given.get("metrics", [])
        ]
        return ({},)

    def runs_update(self, given: dict) -> tuple:
        self.server.runs[given["run_id"]]["status"] = given["status"]
        return ({"run_info": self.run(given["run_id"])["info"]},)
