"""meta_pseudo_labels@m: a student that corrects its teacher -> models/m, models/m-teacher."""

from collections.abc import Sequence

from pipeline import tracking
from pipeline.data import store
from pipeline.meta.train import learn_with_teacher
from pipeline.networks import checkpoint
from pipeline.params.check import load
from pipeline.running import run
from pipeline.running.entry import argument, enter
from pipeline.students.learn import Job


def main(argv: Sequence[str] = ()) -> None:
    """Train the pair."""
    params = load()
    name = argument("meta_pseudo_labels", params.meta_pseudo_labels, argv)
    config, stage = params.config(name), f"meta_pseudo_labels@{name}"
    before = checkpoint.read_card(f"models/{config.parent.name}")
    dataset = store.load("data/prepared/base")
    with tracking.stage_run(stage) as tracker:
        started = run.begin(stage, name, config.seed, tracker)
        job = Job(config, dataset, started, {before["name"]: before["sha256"]})
        student, teacher = learn_with_teacher(job)
        tracking.record_model(tracker, student)
    for card in (before, teacher, student):
        print(f"{stage}: {card['name']}: val accuracy {card['metrics']['val_acc']:.4f}")


if __name__ == "__main__":
    enter(main)
