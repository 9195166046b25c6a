"""extend@t: a model and the new classes of task t -> models/t, which knows both."""

from pipeline import tracking
from pipeline.data import tasks
from pipeline.errors import run
from pipeline.extend import Extension, extend
from pipeline.params import load
from pipeline.stage import argument


def main(argv: list[str] | None = None) -> None:
    """Extend one model by one task."""
    params = load()
    name = argument("extend", params.tasks, argv)
    job = Extension(name, params, tasks.dataset(name))
    with tracking.stage_run(f"extend@{name}") as tracker:
        card = extend(job, tracker)
        tracking.record_model(tracker, card)
    accuracy = card["metrics"]["val_acc"]
    print(f"extend@{name}: val accuracy {accuracy:.4f} over all its classes")


if __name__ == "__main__":
    run(main)
