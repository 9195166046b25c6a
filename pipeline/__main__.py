"""`python -m pipeline <command>`: what a person does beside the stages."""

from __future__ import annotations

import argparse

from pipeline.errors import run


def check(_: argparse.Namespace) -> None:
    """check params.yaml, the files it names and this machine's settings"""
    from pipeline import machine, pretrained
    from pipeline.params import load

    params = load()
    machine.load()
    pretrained.check(params)
    print(f"params.yaml is right: {' -> '.join(params.chain(params.final))}")


def show(_: argparse.Namespace) -> None:
    """print the closing table of the last run"""
    from pipeline import files
    from pipeline.params import load
    from pipeline.report.table import closing_table

    params = load()
    metrics = files.read_json("report/metrics.json")
    print(closing_table(params, metrics, files.read_json("report/data/verdict.json")))
    print("\nread:    report/html/index.html    numbers: report/metrics.json")
    print("compare: make ui   (or: python -m pipeline ui), dvc exp show --only-changed")


def ui(arguments: argparse.Namespace) -> None:
    """open MLflow where the pipelines' runs are compared"""
    from pipeline.tracking.page import serve

    serve(arguments.port)


def clean(_: argparse.Namespace) -> None:
    """remove models and data that params.yaml no longer names, and leftovers of interrupted runs"""
    from pipeline import clean as cleaning
    from pipeline.params import load

    for path in cleaning.clean(load()):
        print(f"removed {path}")


def params(_: argparse.Namespace) -> None:
    """explain every key of params.yaml"""
    from pipeline.params.describe import markdown

    print(markdown())


COMMANDS = {"check": check, "show": show, "ui": ui, "clean": clean, "params": params}


def main() -> None:
    """Parse the command line and call the command."""
    parser = argparse.ArgumentParser(prog="python -m pipeline")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        command_parser = commands.add_parser(name, help=command.__doc__)
        command_parser.set_defaults(call=command)
        if command is ui:
            command_parser.add_argument("--port", type=int, default=0, help="0 = a free one")
    arguments = parser.parse_args()
    arguments.call(arguments)


if __name__ == "__main__":
    run(main)
