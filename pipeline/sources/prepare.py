"""From a source to a prepared data set: choose the classes, drop exact copies, split, store."""

import shutil
from collections.abc import Iterable

from pipeline.core.block import LabelsPerClass
from pipeline.data import findings, store
from pipeline.sources import SOURCES, alike, data_report, splits
from pipeline.sources.copies import Copies, without_copies
from pipeline.sources.images import Notes, Wanted
from pipeline.sources.options import Data
from pipeline.sources.splits import Rule


def wanted(task: str, classes: list[str], known: Iterable[str]) -> Wanted:
    """The classes of `base` or of a task, among all that params name."""
    return Wanted(classes, frozenset([*classes, *known]), f"{block(task)}.classes")


def block(task: str) -> str:
    """The block of params.yaml that a data set comes from."""
    return "data" if task == "base" else f"tasks.{task}"


def prepare(
    data: Data,
    task: str,
    classes: list[str],
    labels_per_class: LabelsPerClass,
    known: Iterable[str] = (),
) -> store.Dataset:
    """Write `data/prepared/<task>`, replacing what was there.

    Which split an image falls into does not depend on the other classes, so that a base task and
    the tasks learnt on top agree about it.

    Args:
        task: `base` or the name of a task.
        known: every other class that params name.

    Raises:
        UserError: unknown classes, clashing labels, too few images.
    """
    names = wanted(task, classes, known)
    images = SOURCES[data.source].read(data, names).of(names)
    copies = without_copies(images, remove=data.on_duplicate == "remove")
    images = images.take(copies.kept)
    parts = splits.split(images, Rule.of(data, labels_per_class, block(task)))
    folder = store.PREPARED / task
    shutil.rmtree(folder, ignore_errors=True)
    dataset = store.save(
        folder,
        images.image,
        images.label,
        parts,
        classes=classes,
        path=images.path,
        sha256=images.sha256,
        rows=images.row,
        copies=sum(copies.left_out.values()),
        masks=images.mask,
    )
    near = alike.alike(dataset, alike.MOST)
    found = findings.write(folder, _found(data, images.notes, copies) | {"near_duplicates": near})
    data_report.write(dataset, found)
    return dataset


def _found(data: Data, notes: Notes, copies: Copies) -> dict:
    return {
        "source": data.source,
        "root": data.root,
        "skipped": dict(notes.skipped),
        "converted": dict(notes.converted),
        "ignored": dict(notes.ignored),
        "sizes": [[width, height, num] for (width, height), num in notes.sizes.items()],
        "copies": [[*where, num] for where, num in sorted(copies.left_out.items())],
    }
