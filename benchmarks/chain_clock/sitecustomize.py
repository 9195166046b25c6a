"""CPU seconds of a Python process by what they went to; Python imports this file at start-up from
the PYTHONPATH that `benchmarks.chain` sets.

Times are exclusive: an import inside a training counts as an import. What a process spends after
its main function has returned is not seen here; `benchmarks.chain` has it from the kernel.
"""

import atexit
import builtins
import json
import os
import sys
import time
from contextlib import contextmanager
from functools import wraps
from pathlib import Path

# what counts as which work: functions and methods by their module
WORK = {
    "pipeline.training.fit": {"Trainings.fit": "training"},
    "pipeline.running.resume": {
        "Resume.__init__": "safety",
        "Resume.__enter__": "safety",
        "Resume.__exit__": "safety",
        "Resume.save": "safety",
        "Resume.newest": "safety",
        "Resume.of_another": "safety",
    },
    "pipeline.training.watch": {"Watch.look": "safety", "check_answers": "safety"},
    "pipeline.core.files": {"sha256": "safety", "digest": "safety", "check_sha256": "safety"},
    "pipeline.sources.prepare": {"prepare": "data"},
    "pipeline.data.store": {"load": "data", "Dataset.array": "data"},
    "pipeline.labelling.transforms": {"answers": "labels"},
    "pipeline.report.measure": {"models": "report"},
    "pipeline.report.tables": {"write": "report"},
    "pipeline.report.page": {"compute": "report", "write": "report"},
    "pipeline.tracking.record": {"record_pipeline": "tracking"},
    "pipeline.tracking.tracker": {"start": "tracking"},
    "pipeline.tracking.journal": {
        "Journal.__init__": "tracking",
        "Journal.params": "tracking",
        "Journal.metrics": "tracking",
        "Journal.tags": "tracking",
        "Journal.artifact": "tracking",
        "Journal.end": "tracking",
    },
}


class Clock:
    """Seconds by kind of work; what is inside another kind is taken out of it."""

    def __init__(self):
        self.seconds = {}
        self._open = ["other"]
        self._last = 0.0

    def _count(self) -> None:
        now = time.process_time()
        kind = self._open[-1]
        self.seconds[kind] = self.seconds.get(kind, 0.0) + now - self._last
        self._last = now

    @contextmanager
    def of(self, kind: str):
        """Count what is within as `kind`."""
        self._count()
        self._open.append(kind)
        try:
            yield
        finally:
            self._count()
            self._open.pop()

    def write(self, name: str) -> None:
        """A file with the seconds so far."""
        self._count()
        path = Path(os.environ["LINEAGE_CHAIN_CLOCK"], f"{name}.json")
        path.write_text(json.dumps(self.seconds))


clock = Clock()
synced = os.fsync


def timed_fsync(file) -> None:
    """Waits for the disk, which takes no CPU: the seconds of the wall are counted."""
    started = time.monotonic()
    synced(file)
    waited = time.monotonic() - started
    clock.seconds["safety"] = clock.seconds.get("safety", 0.0) + waited


plain_import = builtins.__import__


def timed_import(name, *args, **kwargs):
    """Import, and wrap what is to be timed before anybody has taken it by name."""
    with clock.of("imports"):
        module = plain_import(name, *args, **kwargs)
    for loaded in [other for other in WORK if other in sys.modules]:
        if all(_is_there(sys.modules[loaded], path) for path in WORK[loaded]):
            for path, kind in WORK.pop(loaded).items():
                _wrap(sys.modules[loaded], path, kind)
    if name == "pipeline.running.entry":
        _write_after_main(sys.modules[name])
    return module


def _is_there(module: object, path: str) -> bool:
    """Whether a module, which may be half imported, has it already."""
    return hasattr(module, path.split(".")[0])


def _wrap(owner: object, path: str, kind: str) -> None:
    *outer, last = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    function = getattr(owner, last)

    @wraps(function)
    def timed(*args, **kwargs):
        with clock.of(kind):
            return function(*args, **kwargs)

    setattr(owner, last, timed)


def _write_after_main(entry: object) -> None:
    enter = entry.enter
    if hasattr(enter, "__wrapped__"):
        return

    @wraps(enter)
    def timed(main) -> None:
        @wraps(main)
        def whole(argv) -> None:
            main(argv)
            clock.write("@".join([sys.orig_argv[2].removeprefix("stages."), *argv]))

        enter(whole)

    entry.enter = timed


def _begin(command: list[str]) -> None:
    if command and Path(command[0]).name == "dvc":
        atexit.register(clock.write, "dvc")
    elif command[:1] == ["-m"] and command[1].startswith("stages."):
        builtins.__import__ = timed_import
        os.fsync = timed_fsync


if "LINEAGE_CHAIN_CLOCK" in os.environ:
    _begin(sys.orig_argv[1:])
