"""From a chain of models to a list of images to label: the wiring of this room."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.core.errors import UserError
from pipeline.data.store import Dataset
from pipeline.suggest import answers, page, table
from pipeline.suggest.answers import Answers
from pipeline.suggest.reasons import reasons
from pipeline.suggest.rule import choose, num_near
from pipeline.suggest.table import Suggestion

PAGE = Path("report/suggestions/index.html")


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        chain: names of models, each the parent of the next.
        dataset: the prepared images.
        root: of the images' paths.
        num: images to suggest.
        table: the file to add them to.
        labelled: paths of images that have a label by now, though they were prepared without.
    """

    chain: Sequence[str]
    dataset: Dataset
    root: Path
    num: int
    table: Path
    labelled: Collection[str] = ()


def suggest(request: Request) -> list[Suggestion]:
    """Add suggestions to the file, write the page; returns what was added.

    Raises:
        UserError: see `answers.read`, `table.read` and `left`.
    """
    before = table.read(request.table)
    named = {line["path"] for line in before} | set(request.labelled)
    paths = request.dataset.paths("unlabelled")
    asked = answers.read(request.chain, request.dataset)
    open_rows = left(paths, named, request)
    rows, made = best(asked, paths, open_rows, request.num)
    table.write(request.table, before, made)
    images = request.dataset.array("unlabelled")
    about = {"root": request.root, "table": request.table, "models": asked.models}
    page.write(PAGE, made, [images[row] for row in rows], **about)
    return made


def left(paths: Sequence[str], named: Collection[str], request: Request) -> np.ndarray:
    """Rows of the unlabelled images that no file names yet, int64.

    Raises:
        UserError: there are fewer than are asked for.
    """
    rows = [row for row, path in enumerate(paths) if path not in named]
    if len(rows) < request.num:
        what = f"{request.num} are asked for, images without labels that are left: {len(rows)}"
        if len(rows) < len(paths):
            what += f" ({len(paths) - len(rows)} of {len(paths)} are suggested already)"
        fix = f"ask for {len(rows)} at most" if rows else "label those, and prepare them"
        raise UserError("suggest -n", what, fix)
    return np.array(rows, dtype=np.int64)


def best(
    asked: Answers, paths: Sequence[str], open_rows: np.ndarray, num: int
) -> tuple[np.ndarray, list[Suggestion]]:
    """The rows chosen from `open_rows`, best first, and what to say of each.

    The others count as labelled: they are, or will be by then.
    """
    taken = np.delete(asked.features, open_rows, axis=0)
    labelled = np.concatenate([asked.labelled, taken])
    mine = replace(
        asked,
        probs=asked.probs[:, open_rows],
        features=asked.features[open_rows],
        labelled=labelled,
    )
    chosen = choose(mine.probs, mine.features, num)
    near = num_near(mine.features, chosen, mine.labelled)
    why = reasons(mine.probs[:, chosen], mine.models, mine.classes, near)
    last = mine.probs[-1, chosen]
    rows = open_rows[chosen]
    made = [
        Suggestion(paths[row], mine.classes[p.argmax()], float(p.max()), because)
        for row, p, because in zip(rows.tolist(), last, why)
    ]
    return rows, made
