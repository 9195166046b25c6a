"""pseudo_label@g: the teacher of generation g labels the unlabelled images, without any noise."""

import sys
from collections.abc import Sequence

import numpy as np

from pipeline import tracking
from pipeline.core import files, machine, randomness
from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.labelling import pseudo_labels
from pipeline.labelling.transforms import probabilities
from pipeline.networks import checkpoint
from pipeline.params.check import load
from pipeline.running.entry import argument, enter


def main(argv: Sequence[str] = ()) -> None:
    """Predict, filter, balance, write."""
    params = load()
    name = argument("pseudo_label", params.generations, argv)
    rule, teacher = params.labels_of(name), params.generations[name].teacher
    dataset = store.load("data/prepared/base")
    probs, card = answers(teacher, dataset, rule.transforms)
    rngs = [randomness.generator(params.seed, name, "balance", c) for c in dataset.classes]
    made = pseudo_labels.make(probs, rule, rngs)
    check_collapse(made, dataset, teacher, rule.threshold)
    path = f"data/pseudo_labels/{name}.safetensors"
    pseudo_labels.save(
        path,
        made,
        teacher={"name": teacher, "sha256": card["sha256"]},
        unlabelled=dataset.digest("unlabelled"),
        classes=dataset.classes,
        rule=rule.model_dump(),
        images_seen=len(probs) * len(rule.transforms),
    )
    num, kept = len(probs), len(set(made.index.tolist()))
    with tracking.stage_run(f"pseudo_label@{name}", files.sha256(path)) as tracker:
        tracker.params({"teacher": teacher, "labels": rule.model_dump()})
        tracker.metrics({"kept": kept, "kept_share": kept / num, "rows": len(made.index)})
    warn_of_empty(made, dataset.classes, name)
    print(f"pseudo_label@{name}: {kept} of {num} images kept, {len(made.index)} rows")


def answers(
    teacher: str, dataset: store.Dataset, transforms: Sequence[str]
) -> tuple[np.ndarray, dict]:
    """The teacher's probabilities (N, K) of the unlabelled images, and its card.

    Raises:
        UserError: the teacher knows other classes, or there are no such images.
    """
    settings = machine.load()
    network, card = checkpoint.load(f"models/{teacher}", machine.device(settings))
    known = checkpoint.classes(card)
    if known != dataset.classes:
        what = f"knows the classes {known}, {dataset.folder} has {dataset.classes}"
        raise UserError(f"models/{teacher}/card.json", what, f"train '{teacher}' again")
    images = dataset.array("unlabelled")
    if not len(images):
        fix = "lower data.labels_per_class, data.val or data.test, or add images"
        raise UserError(str(dataset.folder), "there are no unlabelled images", fix)
    autocast = machine.configure(settings, network, checkpoint.pixels(card))
    return probabilities(network, images, transforms, autocast), card


def check_collapse(
    made: pseudo_labels.PseudoLabels, dataset: store.Dataset, teacher: str, threshold: float
) -> None:
    """Refuse labels that are all of one class.

    Raises:
        UserError: they are.
    """
    if len(set(made.label.tolist())) == 1 < len(dataset.classes):
        only, kept = dataset.classes[int(made.label[0])], len(set(made.index.tolist()))
        num = dataset.num("unlabelled")
        what = f"all {kept} images of {num} that are kept are labelled '{only}'"
        lower = ", or lower labels.threshold" if threshold else ""
        raise UserError("labels", what, f"train '{teacher}' better{lower}")


def warn_of_empty(made: pseudo_labels.PseudoLabels, classes: list[str], name: str) -> None:
    """Classes that no image is labelled with are learnt from labels alone."""
    empty = [c for i, c in enumerate(classes) if i not in made.label]
    if empty:
        these = "these classes" if len(empty) > 1 else "this class"
        print(
            f"warning: no image is labelled {', '.join(empty)}; {name} learns {these} from labels "
            "alone",
            file=sys.stderr,
        )


if __name__ == "__main__":
    enter(main)
