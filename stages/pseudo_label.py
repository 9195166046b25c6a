"""pseudo_label@g: the teacher of generation g labels the unlabelled images, without any noise."""

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pipeline import tracking
from pipeline.core import files, machine, randomness
from pipeline.core.errors import UserError
from pipeline.data import store
from pipeline.labelling import foreign, pseudo_labels, transforms
from pipeline.labelling.confidence import Confidence, confidence
from pipeline.labelling.rule import Labels
from pipeline.networks import checkpoint, temperature
from pipeline.params.check import load
from pipeline.params.schema import Params
from pipeline.running.entry import argument, enter

MANY = 100  # unlabelled images for a labelled one, to warn of


class Labelled(NamedTuple):
    """A generation's pseudo-labels and how they came about.

    Attributes:
        teacher: its card.
        sure: how sure it is.
        screened: what the filter of foreign images let through; None where it is off.
    """

    rule: Labels
    teacher: dict
    dataset: store.Dataset
    made: pseudo_labels.PseudoLabels
    sure: Confidence
    screened: foreign.Screened | None

    @property
    def kept(self) -> int:
        """Images that are labelled."""
        return len(set(self.made.index.tolist()))


def main(argv: Sequence[str] = ()) -> None:
    """Predict, filter, balance, write."""
    params = load()
    name = argument("pseudo_label", params.generations, argv)
    labelled = label(params, name)
    path = f"data/pseudo_labels/{name}.safetensors"
    write(path, labelled)
    with tracking.stage_run(f"pseudo_label@{name}", files.sha256(path)) as tracker:
        tracker.params({"teacher": labelled.teacher["name"], "labels": labelled.rule.model_dump()})
        tracker.metrics(numbers(labelled))
    for sentence in warnings(labelled, name):
        print(f"warning: {sentence}", file=sys.stderr)
    print(f"pseudo_label@{name}: {summary(labelled)}")


def label(params: Params, name: str) -> Labelled:
    """Ask the teacher of generation `name`, and apply its rule.

    Raises:
        UserError: see `ask`, `foreign.screen`, `pseudo_labels.make` and `check_collapse`.
    """
    rule, dataset = params.labels_of(name), store.load("data/prepared/base")
    val, unlabelled, card = ask(params.generations[name].teacher, dataset, rule.transforms)
    screened = None
    if rule.ood_filter != "none":
        screened = foreign.screen(rule.ood_filter, rule.ood_keep, val, unlabelled)
    rngs = [randomness.generator(params.seed, name, "balance", c) for c in dataset.classes]
    if dataset.is_dense:
        made = pseudo_labels.make_dense(unlabelled.probs, rule)
    else:
        made = pseudo_labels.make(unlabelled.probs, rule, rngs, screened and screened.passes)
    check_collapse(made, dataset, card["name"], rule.threshold)
    sure = confidence(rows(val.probs), rows(unlabelled.probs), temperature.of(card))
    return Labelled(rule, card, dataset, made, sure, screened)


def rows(probs: np.ndarray) -> np.ndarray:
    """Probabilities (N, K) as they are; of each pixel, (N, K, H, W), as (N H W, K)."""
    return np.moveaxis(probs, 1, -1).reshape(-1, probs.shape[1])


def ask(
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


def check_collapse(
    made: pseudo_labels.PseudoLabels, dataset: store.Dataset, teacher: str, threshold: float
) -> None:
    """Refuse labels that are all of one class.

    Raises:
        UserError: they are.
    """
    given = np.flatnonzero(made.num_by_class(len(dataset.classes)))
    if len(given) == 1 < len(dataset.classes):
        only, kept = dataset.classes[given[0]], len(set(made.index.tolist()))
        num = dataset.num("unlabelled")
        what = f"all {kept} images of {num} that are kept are labelled '{only}'"
        if dataset.is_dense:
            what = f"all pixels that are kept, of {kept} images, are labelled '{only}'"
        lower = ", or lower labels.threshold" if threshold else ""
        raise UserError("labels", what, f"train '{teacher}' better{lower}")


def write(path: str, labelled: Labelled) -> None:
    """Write the file of pseudo-labels."""
    rule, teacher, dataset, made, sure, screened = labelled
    pseudo_labels.save(
        path,
        made,
        teacher={"name": teacher["name"], "sha256": teacher["sha256"]},
        unlabelled=dataset.digest("unlabelled"),
        classes=dataset.classes,
        rule=rule.model_dump(),
        images_seen=dataset.num("unlabelled") * len(rule.transforms),
        confidence=vars(sure),
        foreign=screened and screened.describe(),
    )


def numbers(labelled: Labelled) -> dict[str, float]:
    """For the tracker."""
    kept, screened = labelled.kept, labelled.screened
    values = {"kept": kept, "kept_share": kept / labelled.dataset.num("unlabelled")}
    values |= {"rows": len(labelled.made.index), "confidence_gap": labelled.sure.gap}
    return values | ({"foreign": screened.dropped} if screened else {})


def warnings(labelled: Labelled, name: str) -> Iterator[str]:
    """What is unusual: classes that nothing is labelled as, images that the teacher doubts, a few
    labels that are to speak for very many images."""
    dataset, sure, teacher = labelled.dataset, labelled.sure, labelled.teacher["name"]
    given = labelled.made.num_by_class(len(dataset.classes))
    empty = [name for name, num in zip(dataset.classes, given) if not num]
    if empty:
        these = "these classes" if len(empty) > 1 else "this class"
        yield f"no image is labelled {', '.join(empty)}; {name} learns {these} from labels alone"
    if sure.is_large:
        advice = "" if labelled.screened else "; labels.ood_filter drops those that look foreign"
        unlabelled, val = (", ".join(f"{q:.0%}" for q in of) for of in (sure.unlabelled, sure.val))
        yield (
            f"{teacher} is less sure of the unlabelled images (quartiles {unlabelled}) than of the "
            f"val images ({val}): some may be of other classes, or of another kind{advice}"
        )
    unlabelled, given = dataset.num("unlabelled"), dataset.num("labelled")
    if unlabelled > MANY * given:
        yield (
            f"{unlabelled:,} unlabelled images are {unlabelled // given} for each of {given} "
            "labels: what the teacher gets wrong outweighs them; label more, or keep fewer "
            "(labels.share)"
        )


def summary(labelled: Labelled) -> str:
    """The closing line."""
    num, screened = labelled.dataset.num("unlabelled"), labelled.screened
    text = f"{labelled.kept} of {num} images kept, {len(labelled.made.index)} rows"
    looks = screened and f"; {screened.dropped} look foreign by '{labelled.rule.ood_filter}'"
    return text + (looks or "")


if __name__ == "__main__":
    enter(main)
