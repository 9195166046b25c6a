"""`python -m pipeline show`."""

import argparse


def run(_: argparse.Namespace) -> None:
    """print the closing table of the last run"""
    from pipeline.core import files
    from pipeline.params.check import load
    from pipeline.report.table import closing_table

    lineage = load().lineage()
    metrics = files.read_json("report/metrics.json")
    print(closing_table(lineage, metrics, files.read_json("report/data/verdict.json")))
    print("\nread:    report/html/index.html    numbers: report/metrics.json")
    print("compare: make ui   (or: python -m pipeline ui), dvc exp show --only-changed")
