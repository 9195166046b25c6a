"""A proposal in words: what was found, how long it takes, the file with its reasons."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from math import prod

from pipeline.core import machine
from pipeline.pages.formats import counted
from pipeline.proposal import page as text
from pipeline.proposal.place import Place
from pipeline.proposal.propose import Proposal

FEW = 5  # images of a class
SHOWN = 5
WITH_WEIGHTS = """
# With weights that torchvision publishes (downloaded once), better than all of the above for photos
# of things: the backbone answers each image once, and a step takes next to no time.
# teacher:
#   network: torchvision/resnet18
#   pretrained: {weights: DEFAULT}
#   training: {features: frozen, image_size: 224}
"""


def found(place: Place) -> Iterator[str]:
    """What stands in the folder, what was taken for what, and what a person should look at."""
    headers, names = place.headers, place.names
    yield f"{place.listing.root}: {counted(len(place.listing.files), 'file')}"
    looked = headers.sizes.total()
    of = "" if looked == len(place.listing.files) else f" of {looked:,} of them"
    yield f"pixels{of}: {_sizes(headers.sizes)}"
    yield f"kinds{of}: {_counts(headers.kinds)}"
    yield from names.notes
    few = [f"{name} {num}" for name, num in place.found.training.items() if num < FEW]
    if few:
        yield f"look: few labelled images of {_some(few)}; {FEW} or more would help most"
    for path, why in list(headers.bad.items())[:SHOWN]:
        yield f"look: {place.listing.root}/{path} {why}; remove it, or set data.on_bad_image: skip"
    yield from (f"look: {doubt}" for doubt in names.doubts)


def _some(words: list[str]) -> str:
    more = [f"and {len(words) - SHOWN} more"] if len(words) > SHOWN else []
    return ", ".join([*words[:SHOWN], *more])


def _counts(counts: Counter) -> str:
    return _some([f"{name} {num}" for name, num in counts.most_common()])


def _sizes(sizes: Counter) -> str:
    """Each with its number; where there are many, the smallest and the largest."""
    named = {size: f"{size[0]}x{size[1]}" for size in sorted(sizes, key=prod)}
    if len(sizes) <= SHOWN:
        return _counts(Counter({named[size]: num for size, num in sizes.items()}))
    smallest, *_, largest = named.values()
    return f"{smallest} to {largest}, of {len(sizes):,} sizes"


def times(made: Proposal) -> str:
    """A table of the stages."""
    width = max(map(len, made.seconds))
    lines = [f"{name:{width}}  {_time(seconds):>8}" for name, seconds in made.seconds.items()]
    whole = f"{'all':{width}}  {_time(sum(made.seconds.values())):>8}"
    return "\n".join(["expected on this machine, where nothing else runs:", *lines, whole])


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def page(place: Place, made: Proposal, given: argparse.Namespace) -> str:
    """params.yaml."""
    counts = place.found
    labelled = sum(counts.training.values())
    head = (
        f"A proposal for {place.listing.root}: {labelled:,} labelled images of "
        f"{len(counts.training)} classes, {counts.unlabelled:,} without a label.\n"
        f"Made for {given.minutes:g} min on {counted(machine.cores(), 'core')}: "
        f"{_time(sum(made.seconds.values()))} are expected.\n"
        "Every value is a suggestion: docs/recipes.md says how they are found, docs/parameters.md "
        "what they do."
    )
    return text.text(made.values, head) + WITH_WEIGHTS
