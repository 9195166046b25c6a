"""`report.html` beside a data set: what it holds, what was left out, and how its images look."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from pipeline.core import files
from pipeline.data import findings
from pipeline.data.store import SPLITS, Dataset
from pipeline.pages.thumbnails import thumbnail

NAME = "report.html"
TEMPLATES = Path(__file__).with_name("templates")
SHOWN = 10  # images of a class, and of those without a label twice as many
LISTED = 50  # files or pairs in a table


def write(dataset: Dataset, found: dict) -> None:
    """Write the page.

    Args:
        found: see `findings`.
    """
    from pipeline.pages.render import environment  # Jinja, which `check` need not wait for

    of = dataset.card["counts"]
    page = environment(TEMPLATES).get_template("data_report.html")
    text = page.render(
        found=found,
        warnings=findings.warnings(found),
        task=dataset.folder.name,
        shape=dataset.image_shape,
        splits=list(SPLITS),
        num={name: dataset.num(name) for name in SPLITS},
        rows=[(name, [of[split][name] for split in SPLITS]) for name in of["labelled"]],
        without_label=dataset.card["without_label"],
        sheets=_sheets(dataset),
        listed=LISTED,
    )
    files.write_text(dataset.folder / NAME, text)


def say(stage: str, dataset: Dataset) -> None:
    """Tell whoever runs the stage what came of it, and what to know before an hour is spent."""
    print(f"{stage}: {dataset.describe()}; shown in {dataset.folder / NAME}")
    for sentence in findings.warnings(findings.read(dataset.folder)):
        print(f"warning: {sentence}", file=sys.stderr)


def _sheets(dataset: Dataset) -> list[tuple[str, list[dict]]]:
    """Images of each class that are labelled or val, never test, and of the unlabelled ones."""
    tiles: dict[str, list[dict]] = {name: [] for name in dataset.card["counts"]["labelled"]}
    for split in ("labelled", "val"):
        images, paths = dataset.array(split), dataset.paths(split)
        for row, label in enumerate(dataset.array(split, "label")):
            shown = tiles[dataset.classes[_class(label)]]
            if len(shown) < SHOWN:
                shown.append(_tile(images[row], paths[row], split))
    images, paths = dataset.array("unlabelled"), dataset.paths("unlabelled")
    step = max(1, len(paths) // (2 * SHOWN))
    rows = range(0, len(paths), step)[: 2 * SHOWN]
    nameless = [_tile(images[row], paths[row], "unlabelled") for row in rows]
    return [*tiles.items()] + ([("unlabelled", nameless)] if nameless else [])


def _class(label: np.ndarray) -> int:
    """The class that an image is shown under: its own, or the one that most pixels of its mask are
    of, background aside."""
    return int(np.bincount(label.ravel())[1:].argmax()) + 1 if label.ndim else int(label)


def _tile(image, path: str, split: str) -> dict:
    return {"image": thumbnail(image), "name": path, "lines": [Path(path).name, split]}
