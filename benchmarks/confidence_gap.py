"""How many strangers among the unlabelled images it takes for the confidence gap to be warned of.

The committed digits: teachers of 0 to 7 by the params' own labels and recipe, with 8 and 9 for a
share of the unlabelled images. `python -m benchmarks.confidence_gap` prints the table of
`benchmarks/RESULTS.md`; its seeds are other than those by which the gap was chosen.
"""

from __future__ import annotations

import io
import os
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import torch

from benchmarks.study import mean_interval
from pipeline.core import files
from pipeline.core.yaml_file import read
from pipeline.labelling.confidence import LARGE, confidence

SHARES = [0.0, 0.1, 0.2, 0.3, 1.0]
SEEDS = range(100, 120)


def mixed(known: np.ndarray, foreign: np.ndarray, share: float) -> np.ndarray:
    """So many rows of both, the first of each, that `share` of them are foreign."""
    if share in (0, 1):
        return foreign if share else known
    num = min(len(known), int(len(foreign) * (1 - share) / share))
    return np.concatenate([known[:num], foreign[: round(num * share / (1 - share))]])


def gaps(values: dict, seed: int) -> list[float]:
    """Of a teacher trained in the working folder, at each share."""
    from pipeline.data import store
    from pipeline.networks import checkpoint, evaluate, temperature
    from pipeline.sources import digits
    from stages import prepare, teacher

    data = values["data"] | {"seed": seed}
    files.write_json("params.yaml", values | {"seed": seed, "data": data})
    prepare.main()
    teacher.main()
    dataset, (network, card) = store.load("data/prepared/base"), checkpoint.load("models/teacher")
    every = digits.read(None, None)  # which asks neither for data nor for classes
    images = [dataset.array("val"), dataset.array("unlabelled"), every.image[every.label >= 8]]
    val, known, foreign = (
        torch.softmax(evaluate.infer(network, split).double(), 1).numpy() for split in images
    )
    crowds = [mixed(known, foreign, share) for share in SHARES]
    return [confidence(val, crowd, temperature.of(card)).gap for crowd in crowds]


def table(measured: np.ndarray) -> str:
    """A line for each share, of gaps (seeds, shares)."""
    lines = ["| strangers | gap | warned of |", "|---|---|---|"]
    for share, column in zip(SHARES, measured.T):
        mean, half = mean_interval(column)
        warned = f"{(column >= LARGE).sum()} of {len(column)}"
        lines.append(f"| {share:.0%} | {mean:.3f} ± {half:.3f} | {warned} |")
    return "\n".join(lines)


def main() -> None:
    """Train the teachers, print the table."""
    os.environ |= {"LINEAGE_THREADS": "1", "LINEAGE_TRACKING": "off"}
    values, before, measured = read(Path("params.yaml")).values, Path.cwd(), []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
            os.chdir(folder)
            try:
                measured.append(gaps(values, seed))
            finally:
                os.chdir(before)
    print(table(np.array(measured)))


if __name__ == "__main__":
    main()
