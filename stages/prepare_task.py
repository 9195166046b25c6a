"""prepare_task@t: the new classes of task t -> data/prepared/t, split as `prepare` splits."""

from collections.abc import Sequence

from pipeline import tracking
from pipeline.params.check import load
from pipeline.running.entry import argument, enter
from pipeline.sources.data_report import say
from pipeline.sources.prepare import prepare


def main(argv: Sequence[str] = ()) -> None:
    """Prepare one task."""
    params = load()
    name = argument("prepare_task", params.tasks, argv)
    task = params.tasks[name]
    data, known = params.data_of(name), params.all_classes()
    dataset = prepare(data, name, task.classes, task.labels_per_class, known)
    say(f"prepare_task@{name}", dataset)
    options = data.model_dump() | task.model_dump(include={"classes", "labels_per_class"})
    with tracking.stage_run(f"prepare_task@{name}") as tracker:
        tracking.record_data(tracker, options, dataset.card, dataset.folder)


if __name__ == "__main__":
    enter(main)
