"""`python -m pipeline <command>`: what a person does apart from the stages."""

import argparse
from collections.abc import Sequence

from pipeline.running.entry import enter


def check(_: argparse.Namespace) -> None:
    """check params.yaml, the files it names and this machine's settings"""
    from pipeline.core import machine
    from pipeline.core.errors import UserError
    from pipeline.networks import pretrained
    from pipeline.params.check import load

    params = load()
    machine.load()
    errors = []
    for name in params.places():
        options = getattr(params.options(name), "pretrained", None)
        if options:
            errors += pretrained.faults(f"{params.config(name).key}.pretrained", options)
    if errors:
        raise UserError.all(errors)
    print(f"params.yaml is right: {' -> '.join(params.lineage().chain(params.final))}")


def show(_: argparse.Namespace) -> None:
    """print the closing table of the last run"""
    from pipeline.core import files
    from pipeline.params.check import load
    from pipeline.report.table import closing_table

    lineage = load().lineage()
    metrics = files.read_json("report/metrics.json")
    print(closing_table(lineage, metrics, files.read_json("report/data/verdict.json")))
    print("\nread:    report/html/index.html    numbers: report/metrics.json")
    print("compare: make ui   (or: python -m pipeline ui), dvc exp show --only-changed")


def ui(arguments: argparse.Namespace) -> None:
    """open MLflow where the pipelines' runs are compared"""
    from pipeline.tracking.page import serve

    serve(arguments.port)


def clean(_: argparse.Namespace) -> None:
    """remove models and data that params.yaml no longer names, and leftovers of interrupted runs"""
    from pipeline.params.check import load
    from pipeline.running import clean as cleaning

    for path in cleaning.clean(load().lineage()):
        print(f"removed {path}")


def params(_: argparse.Namespace) -> None:
    """explain every method and every key of params.yaml, as Markdown"""
    from pipeline.params.describe import markdown

    print(markdown())


COMMANDS = {"check": check, "show": show, "ui": ui, "clean": clean, "params": params}


def main(argv: Sequence[str]) -> None:
    """Parse the command line and call the command."""
    parser = argparse.ArgumentParser(prog="python -m pipeline")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        command_parser = commands.add_parser(name, help=command.__doc__)
        command_parser.set_defaults(call=command)
        if command is ui:
            command_parser.add_argument("--port", type=int, default=0, help="0 = a free one")
    arguments = parser.parse_args(argv)
    arguments.call(arguments)


if __name__ == "__main__":
    enter(main)
