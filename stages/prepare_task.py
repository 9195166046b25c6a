"""prepare_task@t: the new classes of task t -> data/prepared/t, split as `prepare` splits."""

from pipeline import tracking
from pipeline.data.prepare import prepare
from pipeline.errors import run
from pipeline.params import load
from pipeline.stage import argument


def main(argv: list[str] | None = None) -> None:
    """Prepare one task."""
    params = load()
    name = argument("prepare_task", params.tasks, argv)
    task = params.tasks[name]
    dataset = prepare(params.data, name, task.classes, task.labels_per_class)
    print(f"prepare_task@{name}: {dataset.describe()}")
    options = params.data.model_dump() | task.model_dump(include={"classes", "labels_per_class"})
    with tracking.stage_run(f"prepare_task@{name}") as tracker:
        tracking.record_data(tracker, options, dataset.card, dataset.folder)


if __name__ == "__main__":
    run(main)
