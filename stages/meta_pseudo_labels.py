"""meta_pseudo_labels@m: a student that corrects its teacher -> models/m, models/m-teacher."""

from pipeline import checkpoint, tracking
from pipeline.data import store
from pipeline.errors import run
from pipeline.meta_training import learn_with_teacher
from pipeline.params import load
from pipeline.self_training import Job
from pipeline.stage import argument


def main(argv: list[str] | None = None) -> None:
    """Train the pair."""
    params = load()
    name = argument("meta_pseudo_labels", params.meta_pseudo_labels, argv)
    stage = f"meta_pseudo_labels@{name}"
    parent = params.meta_pseudo_labels[name].teacher
    taught = checkpoint.read_card(f"models/{parent}")
    dataset = store.load("data/prepared/base")
    job = Job(name, params, dataset, {parent: taught["sha256"]})
    with tracking.stage_run(stage) as tracker:
        student, teacher = learn_with_teacher(job, stage, tracker)
        tracking.record_model(tracker, student)
    for card in (taught, teacher, student):
        print(f"{stage}: {card['name']}: val accuracy {card['metrics']['val_acc']:.4f}")


if __name__ == "__main__":
    run(main)
