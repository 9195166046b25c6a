"""Where the CPU seconds of `dvc repro` go: `python -m benchmarks.chain`.

A copy of the files that git knows, in a temporary folder without models or a cache, runs the whole
chain of params.yaml. Each stage counts its own CPU seconds by kind of work
(`chain_clock/sitecustomize.py`, which Python imports at start-up); the kernel says what DVC and all
stages took together, and what is missing then is the end of the interpreters.

`safety` is what the chain would not need if nothing ever went wrong: resume checkpoints, looks at
losses and weights, hashes of what is read and written, and `fsync`, whose seconds are those of the
wall, as it waits for the disk.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

KINDS = ("imports", "training", "safety", "labels", "data", "report", "tracking", "other")
LISTED = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
Seconds = dict[str, dict[str, float]]


def copy_project(folder: Path) -> None:
    """The working tree as git sees it, as in a fresh clone; no file of DVC's cache."""
    listed = subprocess.run([*LISTED], capture_output=True, check=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if Path(name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, folder / name)
    (folder / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")


def run(folder: Path, *, log: Path) -> tuple[Seconds, float, float]:
    """`dvc repro` in `folder`: CPU seconds by process and kind, CPU seconds in all, wall seconds.

    Raises:
        SystemExit: it failed.
    """
    with tempfile.TemporaryDirectory() as counted:
        clock = str(Path(__file__).with_name("chain_clock").resolve())
        environment = os.environ | {"LINEAGE_CHAIN_CLOCK": counted, "PYTHONPATH": clock}
        before, started = os.times(), time.monotonic()
        with open(log, "a") as text:
            command = ["dvc", "repro"]
            code = subprocess.call(command, cwd=folder, env=environment, stdout=text, stderr=text)
        wall, after = time.monotonic() - started, os.times()
        if code:
            sys.exit(f"error: dvc repro failed; fix: see {log}")
        seconds = {file.stem: json.loads(file.read_text()) for file in Path(counted).iterdir()}
    used = after.children_user - before.children_user
    return seconds, used + after.children_system - before.children_system, wall


def table(seconds: Seconds, total: float) -> dict[str, dict[str, float]]:
    """Rows of stages, columns of kinds, then DVC's own and what the interpreters' ends took."""
    stages = {name: kinds for name, kinds in seconds.items() if name != "dvc"}
    rows = {
        name: {kind: kinds.get(kind, 0.0) for kind in KINDS}
        for name, kinds in sorted(stages.items(), key=lambda item: -sum(item[1].values()))
    }
    rows["all stages"] = {kind: sum(row[kind] for row in rows.values()) for kind in KINDS}
    dvc = sum(seconds.get("dvc", {}).values())
    own = {"dvc": dvc, "exit": total - dvc - sum(rows["all stages"].values())}
    return rows | {"around them": own}


def show(rows: dict[str, dict[str, float]], say: Callable[[str], None] = print) -> None:
    """Print the table."""
    say(f"{'CPU seconds':24}" + "".join(f"{kind:>10}" for kind in (*KINDS, "sum")))
    for name, row in rows.items():
        if name != "around them":
            cells = [*row.values(), sum(row.values())]
            say(f"{name:24}" + "".join(f"{cell:10.1f}" for cell in cells))
    around = rows["around them"]
    say(f"DVC itself {around['dvc']:.1f}, start and exit of interpreters {around['exit']:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--log", type=Path, default=Path(tempfile.gettempdir(), "lineage-chain.log")
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy_project(Path(folder))
        seconds, total, wall = run(Path(folder), log=options.log.resolve())
    show(table(seconds, total))
    print(f"in all {total:.1f} CPU seconds, {wall:.1f} seconds of wall time")


if __name__ == "__main__":
    main()
