"""prepare: a source of images -> data/prepared/base, split and stored as uint8 arrays."""

from pipeline import tracking
from pipeline.data.prepare import prepare
from pipeline.errors import run
from pipeline.params import load
from pipeline.stage import no_argument


def main() -> None:
    """Prepare the base task."""
    data = load().data
    dataset = prepare(data, "base", data.classes, data.labels_per_class)
    print(f"prepare: {dataset.describe()}")
    with tracking.stage_run("prepare") as tracker:
        tracking.record_data(tracker, data.model_dump(), dataset.card, dataset.folder)


def alone() -> None:
    """`main`, with no word on the command line."""
    no_argument("prepare")
    main()


if __name__ == "__main__":
    run(alone)
