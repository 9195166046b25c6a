"""`python -m pipeline <command>`: what a person does apart from the stages."""

import argparse
from collections.abc import Sequence

from pipeline.commands import COMMANDS
from pipeline.running.entry import enter


def main(argv: Sequence[str]) -> None:
    """Parse the command line and run the command."""
    parser = argparse.ArgumentParser(prog="python -m pipeline")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        words = command.run.__doc__
        own = commands.add_parser(name, help=words, description=words)
        getattr(command, "arguments", lambda _: None)(own)
        own.set_defaults(run=command.run)
    given = parser.parse_args(argv)
    given.run(given)


if __name__ == "__main__":
    enter(main)
