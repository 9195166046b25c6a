"""teacher: the labelled images -> models/teacher."""

from pipeline import tracking
from pipeline.data import store
from pipeline.errors import run
from pipeline.params import load
from pipeline.self_training import Job, learn
from pipeline.stage import no_argument


def main() -> None:
    """Train on the labels alone."""
    params = load()
    job = Job("teacher", params, store.load("data/prepared/base"), parents={})
    with tracking.stage_run("teacher") as tracker:
        card = learn(job, "teacher", tracker)
        tracking.record_model(tracker, card)
    print(f"teacher: val accuracy {card['metrics']['val_acc']:.4f}")


def alone() -> None:
    """`main`, with no word on the command line."""
    no_argument("teacher")
    main()


if __name__ == "__main__":
    run(alone)
