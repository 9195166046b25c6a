"""From a source to a prepared data set: choose the classes, drop exact copies, split, store."""

import shutil

from pipeline.data import store
from pipeline.data.tasks import PREPARED
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
    source = SOURCES[data.source].read(data)
    images = source.of(classes, f"{block}.classes")
    sha256 = images.sha256()
    kept = first_copies(sha256, images.label, images.path)
    sha256, path = [sha256[row] for row in kept], [images.path[row] for row in kept]
    parts = split(
        sha256,
        images.label[kept],
        classes,
        labels_per_class=labels_per_class,
        val=data.val,
        test=data.test,
        seed=data.seed,
        key=f"{block}.labels_per_class",
        given=None if images.given is None else images.given[kept],
        brings=() if source.given is None else set(source.given) & {"val", "test"},
    )
    shutil.rmtree(PREPARED / task, ignore_errors=True)
    return store.save(
        PREPARED / task,
        images.image[kept],
        images.label[kept],
        parts,
        classes=classes,
        path=path,
        sha256=sha256,
        copies=len(images.path) - len(kept),
    )
