"""baseline@b: a yardstick from the same images and by the same loop -> models/b."""

from pipeline import tracking
from pipeline.data import store
from pipeline.errors import run
from pipeline.methods import METHODS
from pipeline.params import load
from pipeline.self_training import Job, learn
from pipeline.stage import argument


def main(argv: list[str] | None = None) -> None:
    """Train by labels alone, or with labels for the others made on the way."""
    params = load()
    name = argument("baseline", params.baselines, argv)
    spec = params.baselines[name]
    methods = []
    if spec.learner != "supervised":
        methods = [METHODS[spec.learner](getattr(spec, spec.learner))]
    job = Job(name, params, store.load("data/prepared/base"), parents={}, methods=methods)
    with tracking.stage_run(f"baseline@{name}") as tracker:
        card = learn(job, f"baseline@{name}", tracker)
        tracking.record_model(tracker, card)
    print(f"baseline@{name}: val accuracy {card['metrics']['val_acc']:.4f}")


if __name__ == "__main__":
    run(main)
