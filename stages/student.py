"""student@g: labels and pseudo-labels under noise -> models/g."""

import sys
from collections.abc import Sequence

from pipeline import tracking
from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.labelling import pseudo_labels
from pipeline.networks import checkpoint
from pipeline.params.check import load
from pipeline.running import run
from pipeline.running.entry import argument, enter
from pipeline.students.learn import Job, learn, size
from pipeline.training.fit import on_val


def main(argv: Sequence[str] = ()) -> None:
    """Check that the pseudo-labels are of this teacher and these images, then train."""
    params = load()
    name = argument("student", params.generations, argv)
    config, stage = params.config(name), f"student@{name}"
    dataset = store.load("data/prepared/base")
    path = f"data/pseudo_labels/{name}.safetensors"
    labels, made_from = pseudo_labels.load(path)
    teacher = checkpoint.read_card(f"models/{config.parent.name}")
    check(path, made_from, teacher, dataset)
    with tracking.stage_run(stage) as tracker:
        started = run.begin(stage, name, config.seed, tracker)
        taught_by = made_from.get("table", teacher)
        parents = {taught_by["name"]: taught_by["sha256"]}
        job = Job(config, dataset, started, parents, labels, made_from["images_seen"])
        warn_if_smaller(size(job), name, teacher)
        card = learn(job)
        tracking.record_model(tracker, card)
    what, value = on_val(card)
    print(f"{stage}: val {what} {value:.4f}")


def warn_if_smaller(weights: int, name: str, teacher: dict) -> None:
    """A student is meant to be at least as large as its teacher."""
    if weights < teacher["num_parameters"]:
        print(
            f"warning: {name} ({weights:,} weights) is smaller than its teacher "
            f"{teacher['name']} ({teacher['num_parameters']:,})",
            file=sys.stderr,
        )


def check(path: str, made_from: dict, teacher: dict, dataset: store.Dataset) -> None:
    """Refuse pseudo-labels of another teacher, other images or another order of classes.

    Raises:
        UserError: naming both files.
    """
    card = f"models/{teacher['name']}/card.json"
    labelled_by = made_from.get("teacher", teacher)  # which is none for labels from a table
    pairs = [
        ("teacher's weights", labelled_by["sha256"], teacher["sha256"], card),
        ("images", made_from["unlabelled"], dataset.digest("unlabelled"), str(dataset.folder)),
        ("order of classes", made_from["classes"], dataset.classes, str(dataset.folder)),
    ]
    errors = [
        UserError(path, f"made with other {what} than {other} has", "run `pseudo_label` again")
        for what, here, there, other in pairs
        if here != there
    ]
    if errors:
        raise UserError.all(errors)


if __name__ == "__main__":
    enter(main)
