"""A lineage against the best baselines: generations, and semi-supervised methods alone, each tuned
by one budget, then measured at equal images on seeds that no choice has seen.

Baselines are labels alone (`supervised`) and every semi-supervised method, each with the best of
as many candidates. From the best of these, with its settings, three arms go on with as many
candidates again: `lineage`, whose first teacher learns so on a share of the images, with
generations of its labels (how large a share, how many, with the method beside the labels or not,
soft or hard labels of how many images, their recipe, noise, sizes, a clean end); `meta`, whose
first teacher goes on in a pair of Meta Pseudo Labels, with its feedback or without; and `refined`,
the best by itself, two settings at a time changed, as are those of the other two in another round.
In the last one all of them that compare two views try mixup. Of CIFAR-10 it is some of the methods,
neither pairs nor mixup, and candidates that see a third of the images.
Every forward pass through a network counts: of all trainings, in all views, and of labelling.

`python -m benchmarks.study_lineage` (`make study-lineage`) continues the search and the claims in
`results/*lineage_digits.csv` and prints the tables; with `--images <CIFAR-10>`, a folder that holds
`train/<class>/` and `test/<class>/`, it is about these images and `results/*lineage_cifar10.csv`.
`--figures docs` draws the learning curves against images and CPU-minutes. Seeds also split the
digits into val and test, so that val images of one seed are test images of another, the same for
all arms.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.continual import Row, cell
from benchmarks.learning_curves import Curve, along, draw_curves
from benchmarks.lineage_arms import Ground, baselines, last_round, mixing, second_round
from benchmarks.lineage_grounds import cifar10, digits
from benchmarks.search import NAME, Block, Chosen, Models
from benchmarks.study import Study, filled, run

POINTS = 20  # of a learning curve
PARTS = (0.25, 0.5, 0.75, 1.0)
Rows = Mapping[str, Mapping[str, Row]]  # of each arm by seed


def tuned(ground: Ground) -> dict[str, Models]:
    """Run the searches; every arm's models at their best, the best baseline's first. Where nothing
    near a baseline is better than it, there is no `refined`. The best baseline and the lineage come
    with mixup as well, if the search is not for it: it cannot tell half a point."""
    one, less = ground.search(), replace(ground, budget=ground.budget_of_search)
    best = one.choose(baselines(less))
    method = _highest(ground, best)
    settings = best[method].keys
    second = second_round(less, method, settings)
    best |= one.choose(second)
    for arm, chosen in one.choose(last_round(less, second, best)).items():
        best[arm.removesuffix(" refined")] = chosen
    mixed = replace(one, best=1).choose(mixing(less, best, method, settings))
    for arm, chosen in mixed.items():
        name = arm.removesuffix(" mixup")
        best[name] = max(best[name], chosen, key=lambda either: either.score)
    arms = second_round(ground, method, settings) | baselines(ground)
    made = {name: arm.make(NAME, best[name].keys) for name, arm in arms.items()}
    if made["refined"] in [made[name] for name in ground.methods]:
        del made["refined"]
    method = _highest(ground, best)
    for name in (method, "lineage"):
        chosen = mixed.get(f"{name} mixup", best[name])
        if chosen != best[name]:
            made[f"{name} mixup"] = arms[name].make(NAME, chosen.keys)
    return {method: made.pop(method), **made}


def _highest(ground: Ground, best: Mapping[str, Chosen]) -> str:
    """The baseline that did best, of equals the first."""
    return max(ground.methods, key=lambda name: best[name].score)


def claim(ground: Ground, arms: Mapping[str, Models]) -> Study:
    """Every arm on fresh seeds, test read once; a row an arm and seed, with `POINTS` of each
    learning curve of val."""
    every = dict.fromkeys(name for models in arms.values() for name in names(models))
    columns = [f"acc/{NAME}", f"val_acc/{NAME}"]
    columns += [f"{what}/{n}" for what in ("images_seen", "cpu_seconds", "curve") for n in every]
    chains = {
        arm: {
            **ground.search().changes,
            **{block: {n: often(keys) for n, keys in of.items()} for block, of in models.items()},
            "final": NAME,
        }
        for arm, models in arms.items()
    }
    return Study(f"lineage_{ground.name}", chains, ground.claims, columns, True, ground.params)


def often(block: Block) -> Block:
    """The block, evaluated at `POINTS` of its steps or a few more."""
    return filled(block, {"training.evaluate_every": max(1, block["training"]["steps"] // POINTS)})


def names(models: Models) -> list[str]:
    """Of the models of an arm, oldest first."""
    return [name for named in models.values() for name in named]


def claims(ground: Ground, arms: Mapping[str, Models]) -> Rows:
    """Run what is missing: on all seeds what the claim is about, then, on the first of them, the
    other baselines."""
    first, *others = arms
    others = [arm for arm in others if arm in ground.methods]
    rows = run(claim(ground, {arm: models for arm, models in arms.items() if arm not in others}))
    study = claim(ground, {arm: arms[arm] for arm in others})
    rows += run(replace(study, seeds=ground.claims[: ground.of_others]))
    return {arm: {row["seed"]: row for row in rows if row["arm"] == arm} for arm in arms}


def table(rows: Rows, arms: Mapping[str, Models]) -> str:
    """A line an arm: accuracies, what separates the lineage from it (with mixup, where it was
    measured so), images and CPU-minutes."""
    last = "lineage mixup" if "lineage mixup" in rows else "lineage"
    head = ["", "n", "test, %", "val, %", f"{last} - it, test", "thousand images", "CPU-minutes"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for arm, of in rows.items():
        seen, spent = (
            [sum(float(row[f"{what}/{name}"]) for name in names(arms[arm])) for row in of.values()]
            for what in ("images_seen", "cpu_seconds")
        )
        columns = ("acc", "val_acc")
        cells = [cell([float(row[f"{c}/{NAME}"]) for row in of.values()]) for c in columns]
        cells.append("" if arm == last else cell(_gains(rows[last], of), "+"))
        cells += [f"{max(seen) / 1000:.1f}", f"{np.mean(spent) / 60:.2f}"]
        lines.append(f"| {' | '.join([arm, str(len(of)), *cells])} |")
    return "\n".join(lines)


def _gains(of: Mapping[str, Row], over: Mapping[str, Row]) -> list[float]:
    column = f"acc/{NAME}"
    return [float(of[seed][column]) - float(over[seed][column]) for seed in of if seed in over]


def curves(rows: Rows, arms: Mapping[str, Models]) -> dict[str, list[Curve]]:
    """Of every arm, on all of its seeds."""
    return {arm: [along(row, names(arms[arm])) for row in of.values()] for arm, of in rows.items()}


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
    parser.add_argument("--images", type=Path, help="CIFAR-10 as train/<class>/, test/<class>/")
    options = parser.parse_args()
    ground = cifar10(options.images) if options.images else digits()
    arms = tuned(ground)
    rows = claims(ground, arms)
    drawn = curves(rows, arms)
    print(table(rows, arms), on_the_way(drawn), sep="\n\n")
    if options.figures:
        draw_curves(options.figures / f"lineage_{ground.name}.png", drawn)


if __name__ == "__main__":
    main()
