"""How long each stage last took on this machine: for people only, outside what stages make."""

import json
import sys
from pathlib import Path

from pipeline.core import files, machine


def record(seconds: float) -> None:
    """Keep the wall time of the stage script that this process ran."""
    spec = sys.modules["__main__"].__spec__
    if spec is None or not spec.name.startswith("stages."):
        return
    stage = "@".join([spec.name.removeprefix("stages."), *sys.argv[1:]])
    files.write_text(_folder() / f"{stage}.json", json.dumps(round(seconds, 2)))


def read() -> dict[str, float]:
    """Seconds by stage, of all that ever ran here."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(_folder().glob("*.json"))}


def _folder() -> Path:
    return machine.root() / ".lineage" / "times"
