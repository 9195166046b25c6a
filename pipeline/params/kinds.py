"""What goes with the kind of answers that a source of images asks for: a class for each image, or
one for each pixel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.core.block import Fault
from pipeline.core.errors import UserError
from pipeline.data.kinds import SEGMENTATION
from pipeline.sources import kind

if TYPE_CHECKING:
    from pipeline.params.schema import Params

WHOLE = ("meta_pseudo_labels", "specialists", "tasks")  # blocks of models that answer whole images
# keys of a rule of labels, and what each must be where every pixel has a label
RULE = {"transforms": ["identity"], "ood_filter": "none", "balance": "none"}


def kind_faults(params: Params) -> Iterator[Fault]:
    """Methods of another kind than the source's; for pixels, also blocks and keys of whole
    images."""
    asked = kind(params.data.source)
    for name, place in params.places().items():
        methods = getattr(params.options(name), "methods", None)
        if methods is not None and place[-1] == name:
            yield from _method_faults(".".join(place), methods, asked)
    if asked == SEGMENTATION:
        yield from _dense_faults(params)


def check_whole(params: Params, command: str) -> None:
    """Refuse a command that is for whole images.

    Raises:
        UserError: the source asks for a class for each pixel.
    """
    if kind(params.data.source) == SEGMENTATION:
        what = f"'{params.data.source}' asks for a class for each pixel, this is for whole images"
        raise UserError(command, what, "use it with a source of classified images")


def _method_faults(block: str, methods, asked: str) -> Iterator[Fault]:
    for method in methods.names:
        if asked not in methods.family[method].kinds:
            fitting = [name for name, of in methods.family.items() if asked in of.kinds]
            fix = f"use one of {', '.join(fitting)}" if fitting else "leave it out"
            yield Fault(f"{block}.methods.{method}", f"'{method}' is not for {asked}", fix)


def _dense_faults(params: Params) -> Iterator[Fault]:
    source = f"'{params.data.source}' asks for a class for each pixel"
    for block in WHOLE:
        if getattr(params, block):
            yield Fault(block, f"{source}, these models answer whole images", "leave them out")
    rules = {"labels": params.labels}
    rules |= {f"generations.{name}.labels": g.labels for name, g in params.generations.items()}
    for place, rule in rules.items():
        for key in sorted(RULE.keys() & rule.model_fields_set):
            if getattr(rule, key) != RULE[key]:
                shown = str(RULE[key]).replace("'", "")
                what = f"{source}, this is a rule for whole images"
                yield Fault(f"{place}.{key}", what, f"set it to {shown}")
    for name, model in params.distilled.items():
        if model.transforms != ["identity"]:
            what = f"{source}, which a transform moves"
            yield Fault(f"distilled.{name}.transforms", what, "set it to [identity]")
    for name, place in params.places().items():
        training = getattr(params.options(name), "training", None)
        if training and params.training.override(training).features == "frozen":
            what = f"{source}, frozen features are of whole images"
            yield Fault(".".join((*place, "training", "features")), what, "set it to trained")
