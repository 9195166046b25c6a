"""`python -m pipeline duplicates`."""

import argparse
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Where to write them."""
    parser.add_argument("--out", default="near_duplicates.csv", metavar="FILE")


def run(given: argparse.Namespace) -> None:
    """list images of different files that show one picture: re-saved, cropped, mirrored"""
    from collections import Counter

    from pipeline.data import tasks
    from pipeline.params.check import load
    from pipeline.sources import alike

    rows = [row for name in load().data_sets() for row in alike.alike(tasks.dataset(name))]
    alike.write(Path(given.out), rows)
    for (one, other), num in sorted(Counter(tuple(row[2:4]) for row in rows).items()):
        print(f"{one} and {other}: {num} pairs")
    print(f"{len(rows)} pairs, the labelled, val and test images against all: {given.out}")
