"""The images that the models learnt from and were measured on, in numbers."""

from typing import NamedTuple

from pipeline.data import findings, tasks
from pipeline.data.store import SPLITS


class Facts(NamedTuple):
    """A data set in numbers.

    Attributes:
        name: `base` or a task.
        num: images in each of `SPLITS`.
        labels: labelled images of each class.
        without_label: unlabelled images whose class nobody knows.
        absent: by val and test, where there are such images, the classes that have none.
        warnings: what to know of it, sentences.
        page: where it is shown.
    """

    name: str
    classes: list[str]
    num: list[int]
    labels: list[int]
    without_label: int
    absent: dict[str, list[str]]
    warnings: list[str]
    page: str

    def images(self, split: str) -> int:
        """How many a split has."""
        return self.num[SPLITS.index(split)]


def facts(name: str) -> Facts:
    """Those of `base` or a task.

    Raises:
        UserError: the data set is not there or damaged.
    """
    dataset = tasks.dataset(name)
    counts = dataset.card["counts"]
    absent = {
        split: [of for of, num in counts[split].items() if not num]
        for split in ("val", "test")
        if dataset.num(split)
    }
    return Facts(
        name,
        dataset.classes,
        [dataset.num(split) for split in SPLITS],
        list(counts["labelled"].values()),
        dataset.card["without_label"],
        {split: names for split, names in absent.items() if names},
        findings.warnings(findings.read(dataset.folder)),
        str(dataset.folder / "report.html"),
    )
