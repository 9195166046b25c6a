"""`python -m pipeline clean`."""

import argparse


def run(_: argparse.Namespace) -> None:
    """remove models and data that params.yaml no longer names, and leftovers of interrupted runs"""
    from pipeline.params.check import load
    from pipeline.running import clean

    for path in clean.clean(load().lineage()):
        print(f"removed {path}")
