"""`python -m pipeline ui`."""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """The port."""
    parser.add_argument("--port", type=int, default=0, help="0 = a free one")


def run(given: argparse.Namespace) -> None:
    """open MLflow where the pipelines' runs are compared"""
    from pipeline.tracking.page import serve

    serve(given.port)
