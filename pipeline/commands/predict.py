"""`python -m pipeline predict`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.predict.predictor import Part, Predictor


def arguments(parser: argparse.ArgumentParser) -> None:
    """Images, the model, what becomes of the answers."""
    add = parser.add_argument
    add("images", nargs="+", metavar="IMAGE", help="a file, a folder, or a quoted pattern")
    add("--model", help="a model's name or folder, or champion; without: the one that ships")
    add("--task", default="", help="of the images, for a model that must be told")
    add("--top", type=int, default=3, metavar="N", help="likeliest classes to tell (3)")
    add("--csv", metavar="FILE", help="write a row an image in place of printing a line")
    add("--all", action="store_true", help="in the CSV: the probability of every class")
    add("--move-to", metavar="FOLDER", help="move each image to FOLDER/<class>/")
    add("--copy-to", metavar="FOLDER", help="copy each image there")
    add("--least", type=float, metavar="P", help="but only from this probability on, 0..1")


def run(given: argparse.Namespace) -> None:
    """say what a model sees in images: classes and probabilities, as text, CSV or folders"""
    _check(given)
    try:
        _predict(given)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _check(given: argparse.Namespace) -> None:
    """Options that are wrong alone or together.

    Raises:
        UserError: all of them.
    """
    from pipeline.core.errors import UserError

    least, sorts = given.least, given.move_to or given.copy_to
    folder = f"{given.csv} is a folder" if given.csv and os.path.isdir(given.csv) else ""
    both = "stands beside --move-to" if given.move_to and given.copy_to else ""
    alone = "is without what it is for" if least is not None and not sorts else ""
    faults = [
        ("--top", f"{given.top} is not allowed" if given.top < 1 else "", "give 1 or more"),
        ("--csv", folder, "name a file"),
        ("--all", "is for the CSV" if given.all and not given.csv else "", "add --csv FILE"),
        ("--copy-to", both, "leave out one of them"),
        ("--least", alone, "add --move-to FOLDER or --copy-to FOLDER"),
        ("--least", "" if 0 <= (least or 0) <= 1 else f"{least:g} is no probability", "use 0..1"),
    ]
    errors = [UserError(where, what, fix) for where, what, fix in faults if what]
    if errors:
        raise UserError.all(errors)


def _predict(given: argparse.Namespace) -> None:
    from pipeline.commands.model_choice import chosen
    from pipeline.predict import Predictor, found, sorting
    from pipeline.predict.results import Results

    paths = found.files(given.images)
    predictor = Predictor(chosen(given.model), given.task)
    into, results = given.move_to or given.copy_to, Results(predictor.classes)
    if into:
        sorting.check(into, predictor.classes)
    with _output(given, predictor.classes, paths) as tell:
        for part in _parts(given, predictor, paths):
            tell(part)
            results.add(part)
        results.check()
    print(results.closing(predictor.model.name) + (f"; see {given.csv}" if given.csv else ""))
    for line in results.warnings():
        print(line, file=sys.stderr)
    if into:
        print(sorting.sort(results.told, into, bool(given.copy_to), given.least or 0.0))


@contextmanager
def _output(
    given: argparse.Namespace, classes: list[str], paths: list[str]
) -> Iterator[Callable[[Part], None]]:
    """Where a part's answers go: the CSV, which is whole or not there, or the terminal."""
    from pipeline.core import files
    from pipeline.predict.answers import Table, lines

    if not given.csv:
        yield lambda part: _print(lines(part, classes, given.top))
        return
    table = Table(classes, given.top, given.all)
    with files.written(given.csv, table.num_bytes(paths)) as file:
        file.write(table.header())
        yield lambda part: file.write(table.rows(part))


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        print(line)


def _parts(given: argparse.Namespace, predictor: Predictor, paths: list[str]) -> Iterator[Part]:
    """The answers, with a bar where not the lines themselves are seen to go on."""
    from pipeline.running.progress import progress

    if not given.csv and sys.stdout.isatty():
        yield from predictor.stream(paths)
        return
    with progress(len(paths), 0, "predict", "image") as bar:
        for part in predictor.stream(paths):
            yield part
            bar.update(len(part.paths) + len(part.faults))
