"""student@g: labels and pseudo-labels under noise -> models/g."""

import sys

from pipeline import checkpoint, pseudo_labels, tracking
from pipeline.data import store
from pipeline.errors import UserError, run
from pipeline.params import load
from pipeline.self_training import Job, learn, num_parameters
from pipeline.stage import argument


def main(argv: list[str] | None = None) -> None:
    """Check that the pseudo-labels are of this teacher and these images, then train."""
    params = load()
    name = argument("student", params.generations, argv)
    dataset = store.load("data/prepared/base")
    path = f"data/pseudo_labels/{name}.safetensors"
    labels, made_from = pseudo_labels.load(path)
    parent = params.generations[name].teacher
    teacher = checkpoint.read_card(f"models/{parent}")
    check(path, made_from, teacher, dataset)
    job = Job(name, params, dataset, {parent: teacher["sha256"]}, labels)
    size = num_parameters(job)
    if size < teacher["num_parameters"]:
        print(
            f"warning: {name} ({size:,} weights) is smaller than its teacher "
            f"{parent} ({teacher['num_parameters']:,})",
            file=sys.stderr,
        )
    with tracking.stage_run(f"student@{name}") as tracker:
        card = learn(job, f"student@{name}", tracker)
        tracking.record_model(tracker, card)
    print(f"student@{name}: val accuracy {card['metrics']['val_acc']:.4f}")


def check(path: str, made_from: dict, teacher: dict, dataset: store.Dataset) -> None:
    """Refuse pseudo-labels of another teacher, other images or another order of classes.

    Raises:
        UserError: naming both files.
    """
    card = f"models/{teacher['name']}/card.json"
    pairs = [
        ("teacher's weights", made_from["teacher"]["sha256"], teacher["sha256"], card),
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
    run(main)
