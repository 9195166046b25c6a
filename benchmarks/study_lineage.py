"""A lineage against the best baselines: generations, and semi-supervised methods alone, each tuned
by one budget, then measured at equal images on seeds that no choice has seen.

Baselines are labels alone (`supervised`) and every semi-supervised method, each with the best of
as many candidates. From the best method of all, with its settings, three arms go on with as many
candidates again: `lineage`, whose first teacher learns by it on a share of the images, with
generations of its labels (how large a share, how many, with the method beside the labels or not,
soft or hard labels of how many images, their recipe, noise, sizes, a clean end); `meta`, whose
first teacher goes on in a pair of Meta Pseudo Labels, with its feedback or without; and `refined`,
the method by itself, two settings at a time changed, as are those of the other two in a last round.
Every forward pass through a network counts: of all trainings, in all views, and of labelling.

`python -m benchmarks.study_lineage` (`make study-lineage`) continues the search and the claims in
`results/*lineage_digits.csv` and prints the tables; `--figures docs` draws the learning curves
against images and CPU-minutes. Seeds also split the images into val and test,
so that val images of one seed are test images of another, the same for all arms.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.continual import Row, cell, difference
from benchmarks.learning_curves import Curve, along, draw_curves
from benchmarks.lineage_arms import METHODS, Ground, baselines, digits, last_round, second_round
from benchmarks.search import Block, Models, together
from benchmarks.study import Study, filled, run

POINTS = 20  # of a learning curve
PARTS = (0.25, 0.5, 0.75, 1.0)


def tuned(ground: Ground) -> dict[str, Models]:
    """Run the searches; every arm's models at their best."""
    one, arms = ground.search(), baselines(ground)
    best = one.choose(arms)
    method = max((name for name in METHODS if name != "supervised"), key=lambda n: best[n].score)
    second = second_round(ground, method, best[method].keys)
    best |= one.choose(second)
    for name, chosen in one.choose(last_round(second, best)).items():
        best[name.removesuffix(" refined")] = chosen
    return {name: arm.make(name, best[name].keys) for name, arm in (arms | second).items()}


def claim(ground: Ground, arms: Mapping[str, Models]) -> Study:
    """All arms on fresh seeds, test read once; a row a seed, with `POINTS` of each learning curve
    of val."""
    columns = [f"{what}/{arm}" for what in ("acc", "val_acc") for arm in arms]
    every = [name for models in arms.values() for name in names(models)]
    columns += [f"{what}/{name}" for what in ("images_seen", "cpu_seconds") for name in every]
    columns += [f"curve/{name}" for name in every]
    models = {
        block: {name: often(keys) for name, keys in named.items()}
        for block, named in together(arms.values()).items()
    }
    chain = {**ground.search().changes, **models, "final": "lineage"}
    name = f"lineage_{ground.name}"
    return Study(name, {"default": chain}, ground.claims, columns, True, ground.params)


def often(block: Block) -> Block:
    """The block, evaluated at `POINTS` of its steps or a few more."""
    return filled(block, {"training.evaluate_every": max(1, block["training"]["steps"] // POINTS)})


def names(models: Models) -> list[str]:
    """Of the models of an arm."""
    return [name for named in models.values() for name in named]


def table(rows: Sequence[Row], arms: Mapping[str, Models]) -> str:
    """A line an arm: accuracies, what separates the lineage from it, and images."""
    head = ["%, n = " + str(len(rows)), "test", "val", "lineage - it, test", "thousand images"]
    head.append("CPU-minutes")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for arm, models in arms.items():
        seen, spent = (
            [sum(float(row[f"{what}/{name}"]) for name in names(models)) for row in rows]
            for what in ("images_seen", "cpu_seconds")
        )
        cells = [cell([float(row[f"{what}/{arm}"]) for row in rows]) for what in ("acc", "val_acc")]
        cells.append("" if arm == "lineage" else difference(rows, "acc/{}", "lineage", arm))
        cells += [f"{max(seen) / 1000:.1f}", f"{np.mean(spent) / 60:.2f}"]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


def on_the_way(curves: Mapping[str, Sequence[Curve]]) -> str:
    """A line an arm: val accuracy after parts of the images, and of the least CPU-minutes that any
    arm took; means over seeds."""
    images = max(curve.images[-1] for of in curves.values() for curve in of)
    minutes = min(np.mean([c.minutes[-1] for c in of]) for of in curves.values())
    head = [f"val, % after {part * images / 1000:.0f} thousand" for part in PARTS]
    head += [f"{part * minutes:.2f} CPU-minutes" for part in PARTS]
    lines = [f"| | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for arm, of in curves.items():
        cells = [np.mean([c.at(c.images, part * images) for c in of]) for part in PARTS]
        cells += [np.mean([c.at(c.minutes, part * minutes) for c in of]) for part in PARTS]
        lines.append(f"| {arm} | {' | '.join(f'{100 * value:.1f}' for value in cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, print the tables, draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--figures", type=Path, help="a folder to draw into")
    options = parser.parse_args()
    ground = digits()
    arms = tuned(ground)
    rows = run(claim(ground, arms))
    curves = {arm: [along(row, names(models)) for row in rows] for arm, models in arms.items()}
    print(table(rows, arms), on_the_way(curves), sep="\n\n")
    if options.figures:
        draw_curves(options.figures / f"lineage_{ground.name}.png", curves)


if __name__ == "__main__":
    main()
