"""`python -m pipeline params`."""

import argparse


def run(_: argparse.Namespace) -> None:
    """explain every method and every key of params.yaml, as Markdown"""
    from pipeline.params.describe import markdown

    print(markdown())
