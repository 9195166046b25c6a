"""extend@t: a model and the new classes of task t -> models/t, which knows both."""

import sys
from collections.abc import Sequence

from pipeline import tracking
from pipeline.continual.extend import extend
from pipeline.continual.extension import Extension
from pipeline.continual.options import Task
from pipeline.data import tasks
from pipeline.params.check import load
from pipeline.running import run
from pipeline.running.entry import argument, enter


def main(argv: Sequence[str] = ()) -> None:
    """Extend one model by one task."""
    params = load()
    name = argument("extend", params.tasks, argv)
    config, stage = params.config(name), f"extend@{name}"
    own = params.tasks[name].label_with == "self"
    warn_of_one_class(name, params.tasks[name])
    with tracking.stage_run(stage) as tracker:
        started = run.begin(stage, name, config.seed, tracker)
        rule = params.labels_of(name) if own else None
        card = extend(Extension(config, tasks.dataset(name), started, rule))
        tracking.record_model(tracker, card)
    accuracy = card["metrics"]["val_acc"]
    print(f"{stage}: val accuracy {accuracy:.4f} over all its classes")


def warn_of_one_class(name: str, task: Task) -> None:
    """Images of one class alone teach a network to answer it always."""
    methods = task.methods
    rehearses = task.joint or any(methods.family[m].rehearses for m in methods.names)
    if len(task.classes) == 1 and task.scenario == "class" and not rehearses:
        print(
            f"warning: {name} learns '{task.classes[0]}' without images of other classes and may "
            "come to answer it for every image; add a class, or a method that brings old images",
            file=sys.stderr,
        )


if __name__ == "__main__":
    enter(main)
