"""teacher: the labelled images, and what its methods make of the others -> models/teacher."""

from collections.abc import Sequence

from pipeline import tracking
from pipeline.data import store
from pipeline.params.check import load
from pipeline.running import run
from pipeline.running.entry import enter, no_argument
from pipeline.students.learn import Job, learn
from pipeline.training.fit import on_val


def main(argv: Sequence[str] = ()) -> None:
    """Train the first model."""
    no_argument("teacher", argv)
    config = load().config("teacher")
    dataset = store.load("data/prepared/base")
    with tracking.stage_run("teacher") as tracker:
        card = learn(Job(config, dataset, run.begin("teacher", "teacher", config.seed, tracker)))
        tracking.record_model(tracker, card)
    what, value = on_val(card)
    print(f"teacher: val {what} {value:.4f}")


if __name__ == "__main__":
    enter(main)
