"""What a source has, before an hour is spent on it: no pixel is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from pipeline.core.block import LabelsPerClass
from pipeline.core.errors import UserError
from pipeline.pages.formats import counted
from pipeline.sources import SOURCES
from pipeline.sources.images import Found
from pipeline.sources.options import Data
from pipeline.sources.prepare import block, wanted
from pipeline.sources.splits import Rule, check_enough, check_shares

FEW_VAL = 200  # images, below which the interval of an accuracy is worth a word
SHOWN = 10  # classes named one by one


class Asked(Protocol):
    """What `base` or a task asks of the source: a block of params.yaml."""

    classes: list[str]
    labels_per_class: LabelsPerClass


def survey(data: Mapping[str, Data], tasks: Mapping[str, Asked], unlabelled: bool) -> list[str]:
    """Look for what params ask of the sources.

    Args:
        data: where the images of `base` and of every task come from, by name.
        tasks: `base` and every task by name.
        unlabelled: whether a model learns from images without labels.

    Returns:
        sentences on what is there and on what it costs; none where a source cannot be wrong.

    Raises:
        UserError: a missing folder, class, label or split; every fault that can be seen, at once.
    """
    known = [name for task in tasks.values() for name in task.classes]
    found, errors = {}, []
    for name, task in tasks.items():
        look = getattr(SOURCES[data[name].source], "look", None)
        if look is None:
            errors += _absent(name, data[name])
            continue
        try:
            found[name] = look(data[name], wanted(name, task.classes, known))
            _check(found[name], data[name], name, task)
        except UserError as error:
            errors.append(error)
    base = found.get("base")
    if unlabelled and base and not base.unlabelled and data["base"].labels_per_class == "all":
        what = "there are no images without a label, which the students learn from"
        fix = "name their folders, or set data.labels_per_class to hide labels"
        errors.append(UserError("data.unlabelled", what, fix))
    if errors:
        raise UserError.all(errors)
    if base is None:
        return []
    return [*_there(base, data["base"], tasks["base"].classes), *_costs(base, data["base"])]


def _absent(name: str, data: Data) -> list[UserError]:
    """DVC asks for the folder, of a source that reads nothing there too."""
    if Path(data.root).exists():
        return []
    key = "data.root" if name == "base" else f"tasks.{name}.data.root"
    what = f"'{data.root}' does not exist"
    return [UserError(f"params.yaml ({key})", what, "make the folder, or name another")]


def _check(found: Found, data: Data, name: str, task: Asked) -> None:
    rule = Rule.of(data, task.labels_per_class, block(name))
    check_shares(rule, found.held)
    check_enough({c: found.training.get(c, 0) for c in task.classes}, rule)


def _there(found: Found, data: Data, classes: list[str]) -> Iterator[str]:
    counts = [f"{name} {found.training[name]:,}" for name in classes[:SHOWN]]
    counts += [f"and {len(classes) - SHOWN} more classes"] if len(classes) > SHOWN else []
    num = sum(found.training[name] for name in classes)
    held = [f"{counted(sum(of.values()), f'{name} image')}" for name, of in found.held.items()]
    parts = [f"{counted(num, 'labelled image')} ({', '.join(counts)})", *held]
    yield f"{data.root}: {', '.join([*parts, f'{found.unlabelled:,} without a label'])}"
    if found.ignored:
        left = ", ".join(f"{num:,} {kind}" for kind, num in found.ignored.items())
        yield f"left out: {left}"


def _costs(found: Found, data: Data) -> Iterator[str]:
    num = sum(found.training.values())
    val = sum(found.held["val"].values()) if "val" in found.held else round(data.val * num)
    if val < FEW_VAL:
        margin = 196 * (0.8 * 0.2 / max(1, val)) ** 0.5
        yield (
            f"about {counted(val, 'val image')}: an accuracy of 80 % measured on them is uncertain "
            f"by {margin:.0f} points, and the gate refuses only students that are far worse; "
            "`python -m pipeline cross-validate` measures on every labelled image"
        )
    if not data.test and "test" not in found.held:
        yield "no test images: accuracies are those on val, by which models are also chosen"
