"""prepare: a source of images -> data/prepared/base, split and stored as uint8 arrays."""

import shutil
from pathlib import Path

from pipeline import tracking
from pipeline.data import store
from pipeline.data.sources import SOURCES
from pipeline.data.splits import first_copies, split
from pipeline.errors import run
from pipeline.params import load

OUT = Path("data/prepared/base")


def main() -> None:
    """Read, drop exact copies, split, write."""
    data = load().data
    images = SOURCES[data.source](data).of(data.classes)
    sha256 = images.sha256()
    kept = first_copies(sha256, images.label, images.path)
    sha256, path = [sha256[row] for row in kept], [images.path[row] for row in kept]
    label = images.label[kept]
    parts = split(
        sha256,
        label,
        images.classes,
        labels_per_class=data.labels_per_class,
        val=data.val,
        test=data.test,
        seed=data.seed,
    )
    shutil.rmtree(OUT, ignore_errors=True)
    dataset = store.save(
        OUT, images.image[kept], label, parts, classes=images.classes, path=path, sha256=sha256
    )
    counts = {name: sum(by_class.values()) for name, by_class in dataset.card["counts"].items()}
    copies = len(images.path) - len(kept)
    print(f"prepare: {counts}, {copies} exact copies left out")
    with tracking.stage_run("prepare", dataset.card["seal"]) as tracker:
        tracker.params(data.model_dump())
        tracker.metrics({f"images/{name}": count for name, count in counts.items()})
        tracker.artifact(OUT / "dataset.json")


if __name__ == "__main__":
    run(main)
