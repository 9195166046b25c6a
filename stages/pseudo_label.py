"""pseudo_label@g: the teacher of generation g labels the unlabelled images, without any noise."""

import sys
from collections.abc import Sequence

from pipeline import tracking
from pipeline.core import files, machine, randomness
from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.labelling import foreign, pseudo_labels, transforms
from pipeline.labelling.confidence import Confidence, confidence
from pipeline.labelling.rule import Labels
from pipeline.networks import checkpoint
from pipeline.params.check import load
from pipeline.running.entry import argument, enter

MANY = 100  # unlabelled images for a labelled one, to warn of


def main(argv: Sequence[str] = ()) -> None:
    """Predict, filter, balance, write."""
    params = load()
    name = argument("pseudo_label", params.generations, argv)
    rule, teacher = params.labels_of(name), params.generations[name].teacher
    dataset = store.load("data/prepared/base")
    val, answers, card = asked(teacher, dataset, rule.transforms)
    screened = screen(rule, val, answers)
    rngs = [randomness.generator(params.seed, name, "balance", c) for c in dataset.classes]
    made = pseudo_labels.make(answers.probs, rule, rngs, screened and screened.passes)
    check_collapse(made, dataset, teacher, rule.threshold)
    sure = confidence(val.probs, answers.probs)
    path = f"data/pseudo_labels/{name}.safetensors"
    pseudo_labels.save(
        path,
        made,
        teacher={"name": teacher, "sha256": card["sha256"]},
        unlabelled=dataset.digest("unlabelled"),
        classes=dataset.classes,
        rule=rule.model_dump(),
        images_seen=len(answers.probs) * len(rule.transforms),
        confidence=vars(sure),
        foreign=screened and screened.describe(),
    )
    num, kept = len(answers.probs), len(set(made.index.tolist()))
    numbers = {"kept": kept, "kept_share": kept / num, "rows": len(made.index)}
    numbers |= {"confidence_gap": sure.gap} | ({"foreign": screened.dropped} if screened else {})
    with tracking.stage_run(f"pseudo_label@{name}", files.sha256(path)) as tracker:
        tracker.params({"teacher": teacher, "labels": rule.model_dump()})
        tracker.metrics(numbers)
    warn_of_empty(made, dataset.classes, name)
    warn_of_strangers(sure, teacher, rule.ood_filter)
    warn_of_crowd(dataset)
    looks = f"; {screened.dropped} look foreign by '{rule.ood_filter}'" if screened else ""
    print(f"pseudo_label@{name}: {kept} of {num} images kept, {len(made.index)} rows{looks}")


def asked(
    teacher: str, dataset: store.Dataset, names: Sequence[str]
) -> tuple[transforms.Answers, transforms.Answers, dict]:
    """The teacher's answers to the val and to the unlabelled images under some transforms, and its
    card.

    Raises:
        UserError: the teacher knows other classes, or there are no unlabelled images.
    """
    settings = machine.load()
    network, card = checkpoint.load(f"models/{teacher}", machine.device(settings))
    known = checkpoint.classes(card)
    if known != dataset.classes:
        what = f"knows the classes {known}, {dataset.folder} has {dataset.classes}"
        raise UserError(f"models/{teacher}/card.json", what, f"train '{teacher}' again")
    if not dataset.num("unlabelled"):
        fix = "lower data.labels_per_class, data.val or data.test, or add images"
        raise UserError(str(dataset.folder), "there are no unlabelled images", fix)
    autocast = machine.configure(settings, network, checkpoint.pixels(card))
    val, unlabelled = (
        transforms.answers(network, dataset.array(split), names, autocast)
        for split in ("val", "unlabelled")
    )
    return val, unlabelled, card


def screen(
    rule: Labels, val: transforms.Answers, unlabelled: transforms.Answers
) -> foreign.Screened | None:
    """What the filter of foreign images lets through; None where it is off."""
    if rule.ood_filter == "none":
        return None
    return foreign.screen(rule.ood_filter, rule.ood_keep, val, unlabelled)


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


def warn_of_strangers(sure: Confidence, teacher: str, ood_filter: str) -> None:
    """Unlabelled images that the teacher is much less sure of than of those it is known to know."""
    if sure.is_large:
        advice = "; labels.ood_filter drops those that look foreign" if ood_filter == "none" else ""
        print(
            f"warning: {teacher} is {sure.unlabelled[1]:.0%} sure of the median unlabelled image "
            f"and {sure.val[1]:.0%} of the median val image: they may be of other classes or of "
            f"another kind{advice}",
            file=sys.stderr,
        )


def warn_of_crowd(dataset: store.Dataset) -> None:
    """A few labels that are to speak for very many images."""
    unlabelled, labelled = dataset.num("unlabelled"), dataset.num("labelled")
    if unlabelled > MANY * labelled:
        print(
            f"warning: {unlabelled:,} unlabelled images are {unlabelled // labelled} for each of "
            f"{labelled} labels: what the teacher gets wrong outweighs them; label more, or keep "
            "fewer (labels.share)",
            file=sys.stderr,
        )


if __name__ == "__main__":
    enter(main)
