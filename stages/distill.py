"""distill@d: a model that learns from the answers of another one -> models/d."""

from collections.abc import Sequence

from pipeline import tracking
from pipeline.data import store
from pipeline.distil.train import distil
from pipeline.networks import checkpoint
from pipeline.params.check import load
from pipeline.running import run
from pipeline.running.entry import argument, enter
from pipeline.students.learn import Job
from pipeline.training.fit import on_val


def main(argv: Sequence[str] = ()) -> None:
    """Train the student."""
    params = load()
    name = argument("distill", params.distilled, argv)
    config, stage = params.config(name), f"distill@{name}"
    teacher = checkpoint.read_card(f"models/{config.parent.name}")
    dataset = store.load("data/prepared/base")
    with tracking.stage_run(stage) as tracker:
        started = run.begin(stage, name, config.seed, tracker)
        card = distil(Job(config, dataset, started, {teacher["name"]: teacher["sha256"]}))
        tracking.record_model(tracker, card)
    (what, mine), (_, theirs) = on_val(card), on_val(teacher)
    print(f"{stage}: val {what} {mine:.4f}, its teacher {teacher['name']} {theirs:.4f}")


if __name__ == "__main__":
    enter(main)
