"""prepare: a source of images -> data/prepared/base, split and stored as uint8 arrays."""

from collections.abc import Sequence

from pipeline import tracking
from pipeline.params.check import load
from pipeline.running.entry import enter, no_argument
from pipeline.sources.data_report import say
from pipeline.sources.prepare import prepare


def main(argv: Sequence[str] = ()) -> None:
    """Prepare the base task."""
    no_argument("prepare", argv)
    params = load()
    data, known = params.data, params.all_classes()
    dataset = prepare(data, "base", data.classes, data.labels_per_class, known)
    say("prepare", dataset)
    with tracking.stage_run("prepare") as tracker:
        tracking.record_data(tracker, data.model_dump(), dataset.card, dataset.folder)


if __name__ == "__main__":
    enter(main)
