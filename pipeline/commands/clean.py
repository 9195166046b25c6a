"""`python -m pipeline clean`."""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """What may go as well."""
    helps = "also decoded images and what near-duplicates are found by: only time is lost"
    parser.add_argument("--caches", action="store_true", help=helps)


def run(given: argparse.Namespace) -> None:
    """remove models and data that params.yaml no longer names, and leftovers of interrupted runs"""
    from pipeline.params.check import load
    from pipeline.running import clean

    for path in clean.clean(load().lineage(), given.caches):
        print(f"removed {path}")
    if kept := sum(clean.caches().values()):
        print(f"kept in .lineage: {kept / 1e6:,.1f} MB of caches, which `--caches` removes")
