"""From a source to a prepared data set: choose the classes, drop exact copies, split, store."""

import shutil

from pipeline.data import store
from pipeline.sources import SOURCES
from pipeline.sources.options import Data
from pipeline.sources.splits import first_copies, split


def prepare(data: Data, task: str, classes: list[str], labels_per_class: int) -> store.Dataset:
    """Write `data/prepared/<task>`, replacing what was there.

    Which split an image falls into does not depend on the other classes, so that a base task and
    the tasks learnt on top agree about it.

    Raises:
        UserError: unknown classes, clashing labels, too few images.
    """
    block = "data" if task == "base" else f"tasks.{task}"
    source = SOURCES[data.source].read(data, store.PREPARED)
    images = source.of(classes, f"{block}.classes")
    kept = first_copies(images.sha256, images.label, images.path)
    copies, images = len(images.path) - len(kept), images.take(kept)
    parts = split(
        images.sha256,
        images.label,
        classes,
        labels_per_class=labels_per_class,
        val=data.val,
        test=data.test,
        seed=data.seed,
        key=f"{block}.labels_per_class",
        given=images.given,
        brings=() if source.given is None else set(source.given) & {"val", "test"},
    )
    shutil.rmtree(store.PREPARED / task, ignore_errors=True)
    return store.save(
        store.PREPARED / task,
        images.image,
        images.label,
        parts,
        classes=classes,
        path=images.path,
        sha256=images.sha256,
        rows=images.row,
        copies=copies,
    )
