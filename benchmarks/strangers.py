"""What a teacher says of strangers among the unlabelled images: when the confidence gap is warned
of, and which images the filters of `labels.ood_filter` let through.

The committed digits: teachers of 0 to 7 by the params' own labels and recipe; strangers are the
digits 8 and 9. `python -m benchmarks.strangers` prints the tables of `benchmarks/RESULTS.md`; its
seeds are other than those by which the gap was chosen.
"""

from __future__ import annotations

import io
import os
import tempfile
from contextlib import nullcontext, redirect_stdout
from pathlib import Path

import numpy as np

from benchmarks.study import DIGITS_PARAMS, mean_interval
from pipeline.core import files
from pipeline.core.yaml_file import read
from pipeline.labelling.confidence import LARGE, confidence
from pipeline.labelling.foreign import SCORES, screen
from pipeline.labelling.transforms import Answers, answers

SHARES = [0.0, 0.1, 0.2, 0.3, 1.0]
KEEP = 0.95
SEEDS = range(100, 120)


def ask(values: dict, seed: int) -> tuple[list[Answers], float]:
    """A teacher trained in the working folder: its answers to val images, to unlabelled ones of its
    classes and to strangers; its calibration temperature."""
    from pipeline.data import store
    from pipeline.networks import checkpoint, temperature
    from pipeline.sources import digits
    from stages import prepare, teacher

    data = values["data"] | {"seed": seed}
    files.write_json("params.yaml", values | {"seed": seed, "data": data})
    prepare.main()
    teacher.main()
    dataset, (network, card) = store.load("data/prepared/base"), checkpoint.load("models/teacher")
    every = digits.read(None, None)  # which asks neither for data nor for classes
    images = [dataset.array("val"), dataset.array("unlabelled"), every.image[every.label >= 8]]
    of = [answers(network, split, ["identity"], nullcontext) for split in images]
    return of, temperature.of(card)


def mixed(known: np.ndarray, foreign: np.ndarray, share: float) -> np.ndarray:
    """So many rows of both, the first of each, that `share` of them are foreign."""
    if share in (0, 1):
        return foreign if share else known
    num = min(len(known), int(len(foreign) * (1 - share) / share))
    return np.concatenate([known[:num], foreign[: round(num * share / (1 - share))]])


def gaps(of: list[Answers], temperature: float) -> list[float]:
    """At each share."""
    val, known, foreign = (each.probs for each in of)
    crowds = [mixed(known, foreign, share) for share in SHARES]
    return [confidence(val, crowd, temperature).gap for crowd in crowds]


def passing(of: list[Answers]) -> list[float]:
    """By each filter, the share of the known and of the foreign images that passes."""
    val, *crowd = of
    screened = [screen(name, KEEP, val, each) for name in SCORES for each in crowd]
    return [float(one.passes.mean()) for one in screened]


def gap_table(measured: np.ndarray) -> str:
    """A line for each share, of gaps (seeds, shares)."""
    lines = ["| strangers | gap | warned of |", "|---|---|---|"]
    for share, column in zip(SHARES, measured.T):
        mean, half = mean_interval(column)
        warned = f"{(column >= LARGE).sum()} of {len(column)}"
        lines.append(f"| {share:.0%} | {mean:.3f} ± {half:.3f} | {warned} |")
    return "\n".join(lines)


def filter_table(measured: np.ndarray) -> str:
    """A line for each filter, of what passes (seeds, 2 a filter)."""
    lines = ["| passes, % | 0 to 7 | 8 and 9 |", "|---|---|---|"]
    for number, name in enumerate(SCORES):
        pairs = [mean_interval(100 * c) for c in measured[:, 2 * number : 2 * number + 2].T]
        lines.append(f"| {name} | " + " | ".join(f"{m:.1f} ± {h:.1f}" for m, h in pairs) + " |")
    return "\n".join(lines)


def main() -> None:
    """Train the teachers, print the tables."""
    os.environ |= {"LINEAGE_THREADS": "1", "LINEAGE_TRACKING": "off"}
    values, before, found, passed = read(DIGITS_PARAMS).values, Path.cwd(), [], []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
            os.chdir(folder)
            try:
                of, temperature = ask(values, seed)
            finally:
                os.chdir(before)
        found.append(gaps(of, temperature))
        passed.append(passing(of))
    print(gap_table(np.array(found)), filter_table(np.array(passed)), sep="\n\n")


if __name__ == "__main__":
    main()
