"""pseudo_label@g: the teacher of generation g labels the unlabelled images, without any noise."""

import sys

from pipeline import checkpoint, files, machine, randomness, tracking
from pipeline import pseudo_labels as labels
from pipeline.data import store
from pipeline.errors import UserError, run
from pipeline.params import load
from pipeline.stage import argument
from pipeline.transforms import probabilities


def main(argv: list[str] | None = None) -> None:
    """Predict, filter, balance, write."""
    params = load()
    name = argument("pseudo_label", params.generations, argv)
    rule, teacher = params.labels_of(name), params.generations[name].teacher
    dataset = store.load("data/prepared/base")
    settings = machine.load()
    network, card = checkpoint.load(f"models/{teacher}", machine.device(settings))
    classes = checkpoint.classes(card)
    if classes != dataset.classes:
        what = f"knows the classes {classes}, {dataset.folder} has {dataset.classes}"
        raise UserError(f"models/{teacher}/card.json", what, f"train '{teacher}' again")
    images = dataset.array("unlabelled")
    if not len(images):
        fix = "lower data.labels_per_class, data.val or data.test, or add images"
        raise UserError(str(dataset.folder), "there are no unlabelled images", fix)
    autocast = machine.suit(settings, network, checkpoint.pixels(card))
    probs = probabilities(network, images, rule.transforms, autocast)
    rngs = [randomness.generator(params.seed, name, "balance", label) for label in classes]
    made = labels.make(probs, rule, rngs)
    kept = len(set(made.index.tolist()))
    if len(set(made.label.tolist())) == 1 < len(classes):
        only = classes[int(made.label[0])]
        what = f"all {kept} images of {len(images)} that are kept are labelled '{only}'"
        lower = ", or lower labels.threshold" if rule.threshold else ""
        raise UserError("labels", what, f"train '{teacher}' better{lower}")
    path = f"data/pseudo_labels/{name}.safetensors"
    labels.save(
        path,
        made,
        teacher={"name": teacher, "sha256": card["sha256"]},
        unlabelled=dataset.digest("unlabelled"),
        classes=classes,
        rule=rule.model_dump(),
    )
    with tracking.stage_run(f"pseudo_label@{name}", files.sha256(path)) as tracker:
        tracker.params({"teacher": teacher, "labels": rule.model_dump()})
        tracker.metrics({"kept": kept, "kept_share": kept / len(images), "rows": len(made.index)})
    empty = [c for i, c in enumerate(classes) if i not in made.label]
    if empty:
        print(
            f"warning: no image is labelled {', '.join(empty)}; {name} learns "
            f"{'these classes' if len(empty) > 1 else 'this class'} from labels alone",
            file=sys.stderr,
        )
    print(f"pseudo_label@{name}: {kept} of {len(images)} images kept, {len(made.index)} rows")


if __name__ == "__main__":
    run(main)
