"""extend@t: a model and the new classes of task t -> models/t, which knows both."""

from collections.abc import Sequence

from pipeline import tracking
from pipeline.continual.extend import Extension, extend
from pipeline.data import tasks
from pipeline.params.check import load
from pipeline.running import run
from pipeline.running.entry import argument, enter


def main(argv: Sequence[str] = ()) -> None:
    """Extend one model by one task."""
    params = load()
    name = argument("extend", params.tasks, argv)
    config, stage = params.config(name), f"extend@{name}"
    with tracking.stage_run(stage) as tracker:
        started = run.begin(stage, name, config.seed, tracker)
        card = extend(Extension(config, tasks.dataset(name), started))
        tracking.record_model(tracker, card)
    accuracy = card["metrics"]["val_acc"]
    print(f"{stage}: val accuracy {accuracy:.4f} over all its classes")


if __name__ == "__main__":
    enter(main)
