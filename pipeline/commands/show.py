"""`python -m pipeline show`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.core.lineage import Lineage

LOCK = Path("dvc.lock")


def run(_: argparse.Namespace) -> None:
    """print the closing table of the last run"""
    from pipeline.core import files
    from pipeline.params.check import load
    from pipeline.report.table import closing_table

    lineage = load().lineage()
    metrics = files.read_json("report/metrics.json")
    verdict = files.read_json("report/data/verdict.json")
    print(closing_table(lineage, metrics, verdict, _unread(lineage)))
    if changed := _changed():
        what = f"note: {', '.join(changed)} of params.yaml changed after the run that this shows"
        print(f"\n{what}; `dvc repro` runs what that asks for", file=sys.stderr)
    print("\nread:    report/html/index.html    numbers: report/metrics.json")
    print("compare: make ui   (or: python -m pipeline ui), dvc exp show --only-changed")


def _unread(lineage: Lineage) -> str:
    """What stands for a test accuracy: nobody asked for it, or there are no test images."""
    from pipeline.core.errors import UserError
    from pipeline.report.facts import facts

    try:
        data = [facts(name) for name in ("base", *lineage.of("tasks"))]
    except UserError:  # the images are not here, the numbers are
        return "not read"
    return "not read" if all(of.images("test") for of in data) else "none"


def _changed() -> list[str]:
    """The blocks of params.yaml that the last report had with other values, as DVC recorded them;
    none where the stages were run without it."""
    from pipeline.core.yaml_file import read

    if not LOCK.is_file():
        return []
    stages = read(LOCK).values.get("stages") or {}
    before = stages.get("report", {}).get("params", {}).get("params.yaml", {})
    now = read("params.yaml").values
    return sorted(key for key in before if now.get(key) != before[key])
