"""Two new classes on photographs, with the old images and without, where few labels taught the old.

CIFAR-10 at 16x16 pixels, `resnet_9` at a quarter of its width: a teacher of eight classes from 40
labels each or from 10, one generation of all its images, then ship and truck from as many labels.
`replay` is the recommended task, `replay-self` the same with `label_with: self`, `lwf` the one for
who has no old images, `joint` trains on all labelled ones.

`python -m benchmarks.study_old_images --images <CIFAR-10>` (`make study-old-images
IMAGES=<CIFAR-10>`) continues the seeds from 100 on in `results/old_images.csv`, test read once, and
prints the table. The digits are in `benchmarks.study_digits`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.continual import CIFAR10, Row, Task, difference, merged, options, table
from benchmarks.study import CIFAR10_PARAMS, Study, run

REPLAY: Task = {"methods": {"replay": {"memory": 2000, "ratio": 4.0, "weight": 2.0}}}
ARMS: dict[str, Task] = {
    "replay": REPLAY,
    "replay-self": REPLAY | {"label_with": "self"},
    "lwf": {"methods": {"lwf": {}}},
    "joint": {"joint": True},
}
LABELS = {"40": 40, "10": 10}
COLUMNS = {
    "all ten": "acc/{}",
    "the old eight": "task_acc/{}/base",
    "the new two": "task_acc/{0}/{0}",
    "forgotten": "forgetting/{}",
    "old, told": "task_acc_told/{}/base",
}


def chain(images: Path, labels: int) -> dict[str, Any]:
    """Changes of the params of CIFAR-10."""
    common = {
        "base": "g1",
        "data": {"root": str(images.resolve())},
        "scenario": "class",
        "classes": CIFAR10[8:],
        "labels_per_class": labels,
        "methods": {},
        "training": {"steps": 400, "learning_rate": 0.05},
    }
    g1 = {"teacher": "teacher", "network": "resnet_9", "width": 0.25, "labels": {"share": 0.6}}
    return {
        "data.root": str(images.resolve()),
        "data.classes": CIFAR10[:8],
        "data.labels_per_class": labels,
        "training.steps": 1500,
        "training.unlabelled_ratio": 3,
        "training.unlabelled_weight": 3.0,
        "training.evaluate_every": 250,
        "teacher.training": {"steps": 1000, "learning_rate": 0.05},
        "generations": {"g1": g1},
        "baselines": {},
        "tasks": {name: merged(common, task) for name, task in ARMS.items()},
        "final": "g1",
        "report.register": False,
    }


def study(images: Path) -> Study:
    """Both numbers of labels, an arm each."""
    names = [column.format(name) for name in ARMS for column in COLUMNS.values()]
    columns = ["acc/teacher", "acc/g1", *names, "seconds"]
    arms = {name: chain(images, labels) for name, labels in LABELS.items()}
    return Study(
        "old_images", arms, range(100, 105), columns, True, CIFAR10_PARAMS, arms_first=True
    )


def main() -> None:
    """Run what is missing and print a table for each number of labels."""
    given = options(__doc__)
    if not given.images:
        raise SystemExit("error: --images: it needs CIFAR-10; fix: name the folder that holds it")
    rows = run(study(given.images))
    for labels in LABELS:
        mine: list[Row] = [row for row in rows if row["arm"] == labels]
        print(f"\n{labels} labels a class")
        print(table(mine, ["teacher", "g1"], {"all they know": "acc/{}"}))
        print(table(mine, list(ARMS), COLUMNS))
        for arm in ("replay-self", "lwf", "joint"):
            print(f"all ten, replay - {arm}: {difference(mine, 'acc/{}', 'replay', arm)}")


if __name__ == "__main__":
    main()
