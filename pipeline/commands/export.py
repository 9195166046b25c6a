"""`python -m pipeline export`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.export.export import Exported
    from pipeline.export.formats import Answers


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, in which formats, where to."""
    add = parser.add_argument
    add("--model", help="a model's name or folder; without: the one that ships")
    add("--format", nargs="+", default=["onnx"], metavar="F", help="onnx, pt2 or both (onnx)")
    add("--to", metavar="FOLDER", help="where the files go (exported/<model>)")


def run(given: argparse.Namespace) -> None:
    """write a model as ONNX or torch.export's pt2, checked against PyTorch, sized and timed"""
    from pipeline.core import files
    from pipeline.export.export import export
    from pipeline.pages.formats import aligned

    formats = list(dict.fromkeys(given.format))
    _check(formats)
    folder = _folder(given.model)
    name = files.read_json(folder / "card.json")["name"]
    exported = export(folder, given.to or Path("exported") / name, formats)
    for file in exported:
        what = f"answers at most {file.difference:.1g} from PyTorch's"
        print(f"{file.path}: {file.num_bytes / 1e6:,.2f} MB, {what}")
    print("\n" + aligned([_head(), *_rows(folder, exported)]))


def _check(formats: Sequence[str]) -> None:
    from pipeline.core.errors import UserError, nearest
    from pipeline.export.formats import FORMATS

    errors = [
        UserError("--format", f"there is no '{name}'", nearest(name, FORMATS))
        for name in formats
        if name not in FORMATS
    ]
    if errors:
        raise UserError.all(errors)


def _folder(asked: str | None) -> Path:
    """Of the model that is asked for.

    Raises:
        UserError: there is none, or the registry alone has it.
    """
    from pipeline.commands.model_choice import chosen
    from pipeline.core.errors import UserError

    model = chosen(asked)
    if isinstance(model, Path):
        return model
    what = f"the champion '{model.name}' is no model of this project"
    raise UserError("--model", what, "fetch it from MLflow, which holds it as a pt2")


def _head() -> tuple[str, ...]:
    from pipeline.export.speed import BATCHES

    times = [f"ms for {num} image{'s' * (num > 1)}" for num in BATCHES]
    return "model", "by", "weights", "val acc", *times


def _rows(folder: Path, exported: Sequence[Exported]) -> Iterator[tuple[str, ...]]:
    """The models that it learnt from, as far as they are here, the model, and its files."""
    import torch

    from pipeline.core import files, machine
    from pipeline.core.errors import UserError
    from pipeline.export.export import of
    from pipeline.networks import checkpoint
    from pipeline.networks.servable import Servable

    parents = files.read_json(folder / "card.json")["parents"]
    for name in [*parents, ""]:
        try:
            network, card = checkpoint.load(folder.parent / name if name else folder)
        except UserError:
            continue
        if name and card["sha256"] != parents[name]:
            continue
        machine.set_threads(machine.load(), network, checkpoint.pixels(card))
        yield _row(card, f"PyTorch {torch.__version__.split('+')[0]}", of(Servable(network, card)))
    for file in exported:
        yield _row(card, file.path.suffix[1:], file.answers)


def _row(card: dict, by: str, answers: Answers) -> tuple[str, ...]:
    from pipeline.export.speed import milliseconds

    times = [f"{time:.2f}" for time in milliseconds(answers, card["image_shape"])]
    accuracy = f"{card['metrics']['val_acc']:.4f}"
    return card["name"], by, f"{card['num_parameters']:,}", accuracy, *times
