"""Every arm tuned on val by the same budget: as many candidates, each on as many seeds, and as many
images through a network in each.

A candidate is drawn at random from an arm's space, the same draws every time; the first one is as
the arm is without. All candidates of an arm run on a few seeds, the best few of them on more, and
the one with the highest mean over all of its seeds is the arm. Test is not read.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.study import Study, run

Block = dict[str, Any]
Keys = Mapping[str, Any]  # values by dotted key
Space = Mapping[str, Sequence[Any]]  # choices by dotted key
Changes = dict[str, dict[str, Block]]  # models by name, by the block of params.yaml they stand in
Make = Callable[[str, Keys], Changes]  # the models of a candidate, the last of them of that name
Scores = dict[str, dict[int, list[float]]]  # of an arm's candidates, at each seed


class Chosen(NamedTuple):
    """What was drawn for the best candidate of an arm, and its mean accuracy on val, 0..1."""

    keys: Keys
    score: float


@dataclass(frozen=True)
class Search:
    """A search over arms.

    Attributes:
        name: of its CSV files, `tune_<name>.csv` and `tune_<name>_best.csv`.
        params: to start from.
        changes: its keys that differ, whatever the arm.
        candidates: of an arm.
        seeds: of each candidate.
        best: how many of them go on.
        more: the seeds of these.
    """

    name: str
    params: Path
    changes: Keys
    candidates: int = 12
    seeds: range = range(3)
    best: int = 3
    more: range = range(3, 9)

    def choose(self, arms: Mapping[str, tuple[Make, Space]]) -> dict[str, Chosen]:
        """Run what is missing; of each arm the candidate that did best."""
        drawn = {arm: draw(space, self.candidates, arm) for arm, (_, space) in arms.items()}
        makes = {arm: make for arm, (make, _) in arms.items()}
        first = self._scores("", makes, drawn, {arm: range(len(d)) for arm, d in drawn.items()})
        finalists = {arm: highest(scores, self.best) for arm, scores in first.items()}
        again = self._scores("_best", makes, drawn, finalists)
        results = {}
        for arm, numbers in finalists.items():
            scores = {n: first[arm][n] + again[arm][n] for n in numbers}
            number = highest(scores, 1)[0]
            results[arm] = Chosen(drawn[arm][number], float(np.mean(scores[number])))
            print(f"{arm}: {100 * results[arm].score:.1f} % by {drawn[arm][number]}", flush=True)
        return results

    def _scores(
        self,
        suffix: str,
        makes: Mapping[str, Make],
        drawn: Mapping[str, Sequence[Keys]],
        numbers: Mapping[str, Iterable[int]],
    ) -> Scores:
        arms = {
            arm: {**self.changes, **together([make(f"c{n}", drawn[arm][n]) for n in numbers[arm]])}
            for arm, make in makes.items()
        }
        columns = [*(f"val_acc/c{n}" for n in range(self.candidates)), "seconds"]
        seeds = self.more if suffix else self.seeds
        study = Study(f"tune_{self.name}{suffix}", arms, seeds, columns, False, self.params)
        rows = run(study)
        return {
            arm: {n: [float(r[f"val_acc/c{n}"]) for r in rows if r["arm"] == arm] for n in of}
            for arm, of in numbers.items()
        }


def draw(space: Space, num: int, name: str) -> list[Keys]:
    """At most so many different choices of all keys; the first of them chooses none.

    Args:
        name: what the draws depend on.
    """
    rng, results = random.Random(name), [{}]
    for _ in range(100 * num):
        keys = {key: rng.choice(list(choices)) for key, choices in space.items()}
        if len(results) < num and keys not in results:
            results.append(keys)
    return results


def filled(block: Keys, *changes: Keys) -> Block:
    """A block with values at dotted keys, later ones before earlier ones."""
    results = deepcopy(dict(block))
    for key, value in (item for keys in changes for item in keys.items()):
        *path, last = key.split(".")
        inner = results
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = deepcopy(value)
    return results


def together(candidates: Sequence[Changes]) -> dict[str, Any]:
    """The models of several candidates in one params.yaml; any of them is the final one."""
    blocks: dict[str, Any] = {"baselines": {}, "generations": {}}
    for changes in candidates:
        for block, models in changes.items():
            blocks.setdefault(block, {}).update(models)
    return {**blocks, "final": list(list(candidates[-1].values())[-1])[-1]}


def highest(scores: Mapping[int, Sequence[float]], num: int) -> list[int]:
    """The numbers of the highest means, highest first; of equals the first."""
    return sorted(scores, key=lambda n: -float(np.mean(scores[n])))[:num]
