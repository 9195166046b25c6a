"""baseline@b: a model to compare with, from the same images by the same loop -> models/b."""

from collections.abc import Sequence

from pipeline import tracking
from pipeline.data import store
from pipeline.params.check import load
from pipeline.running import run
from pipeline.running.entry import argument, enter
from pipeline.students.learn import Job, learn
from pipeline.training.fit import on_val


def main(argv: Sequence[str] = ()) -> None:
    """Train by labels alone, or with labels for the others made on the way."""
    params = load()
    name = argument("baseline", params.baselines, argv)
    config, stage = params.config(name), f"baseline@{name}"
    dataset = store.load("data/prepared/base")
    with tracking.stage_run(stage) as tracker:
        card = learn(Job(config, dataset, run.begin(stage, name, config.seed, tracker)))
        tracking.record_model(tracker, card)
    what, value = on_val(card)
    print(f"{stage}: val {what} {value:.4f}")


if __name__ == "__main__":
    enter(main)
