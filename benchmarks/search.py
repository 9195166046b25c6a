"""Every arm tuned on val by the same budget: as many candidates, each on as many seeds.

Candidates are drawn at random from an arm's space, the same draws every time, each choice of a key
about as often as any other; the first one is where the arm starts from, its defaults unless others
are named. All candidates of an arm run on a few seeds, the best few of them on more, and the one
with the highest mean over all of its seeds is the arm. Test is not read.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from benchmarks.study import Study, run

Block = dict[str, Any]
Keys = Mapping[str, Any]  # values by dotted key
Space = Mapping[str, Sequence[Any]]  # choices by dotted key
Models = dict[str, dict[str, Block]]  # by name, by the block of params.yaml that they stand in
Make = Callable[[str, Keys], Models]  # an arm's models; the one that counts has the name given
NAME = "c"  # of the model that counts, whatever the arm


class Arm(NamedTuple):
    """How an arm is made of keys, and the keys of its candidates."""

    make: Make
    candidates: Sequence[Keys]


class Chosen(NamedTuple):
    """The keys of an arm's best candidate, and its mean accuracy on val, 0..1."""

    keys: Keys
    score: float


@dataclass(frozen=True)
class Search:
    """A search over arms.

    Attributes:
        name: of its CSV.
        params: to start from.
        changes: its keys that differ, whatever the arm.
        seeds: of each candidate.
        more: of the best candidates.
        best: how many candidates of an arm these are.
    """

    name: str
    params: Path
    changes: Keys
    seeds: range
    more: range
    best: int = 3

    def choose(self, arms: Mapping[str, Arm]) -> dict[str, Chosen]:
        """Run what is missing; of each arm the candidate that did best."""
        every = {name: range(len(arm.candidates)) for name, arm in arms.items()}
        first = self._scores(arms, every, self.seeds)
        finalists = {name: highest(scores, self.best) for name, scores in first.items()}
        again = self._scores(arms, finalists, self.more)
        results = {}
        for name, numbers in finalists.items():
            scores = {n: first[name][n] + again[name][n] for n in numbers}
            number = highest(scores, 1)[0]
            keys = arms[name].candidates[number]
            results[name] = Chosen(keys, float(np.mean(scores[number])))
            print(f"{name}: {100 * results[name].score:.1f} % by {dict(keys)}", flush=True)
        return results

    def study(
        self, arms: Mapping[str, Arm], numbers: Mapping[str, Iterable[int]], seeds: range
    ) -> Study:
        """The candidates of these numbers, an arm of the study each."""
        chains = {
            f"{name} {n}": {**self.changes, **arms[name].make(NAME, arms[name].candidates[n])}
            for name, of in numbers.items()
            for n in of
        }
        chains = {name: {**chain, "final": NAME} for name, chain in chains.items()}
        columns = [f"val_acc/{NAME}", f"images_seen/{NAME}", "seconds"]
        return Study(f"tune_{self.name}", chains, seeds, columns, False, self.params)

    def _scores(
        self, arms: Mapping[str, Arm], numbers: Mapping[str, Iterable[int]], seeds: range
    ) -> dict[str, dict[int, list[float]]]:
        scores = {
            (row["arm"], int(row["seed"])): float(row[f"val_acc/{NAME}"])
            for row in run(self.study(arms, numbers, seeds))
        }
        return {
            name: {n: [scores[f"{name} {n}", seed] for seed in seeds] for n in of}
            for name, of in numbers.items()
        }


def draw(space: Space, num: int, name: str, start: Keys = MappingProxyType({})) -> list[Keys]:
    """At most so many different choices of all keys, the start before them.

    Args:
        name: what the draws depend on.
    """
    rng = random.Random(name)
    columns = {key: list(choices) * num for key, choices in space.items()}
    for key, values in columns.items():
        columns[key] = values[: num - 1]
        rng.shuffle(columns[key])
    return _different(start, *({k: v[n] for k, v in columns.items()} for n in range(num - 1)))


def around(make: Make, keys: Keys, space: Space, num: int, name: str) -> list[Keys]:
    """At most so many that make different models: the keys, and changes of two of them at a time.

    Args:
        name: what the draws depend on.
    """
    rng = random.Random(name)
    others = [
        {**keys, **{key: rng.choice(list(space[key])) for key in rng.sample(list(space), 2)}}
        for _ in range(20 * num)
    ]
    candidates = [keys, *others]
    made = [make(NAME, candidate) for candidate in candidates]
    return [c for n, c in enumerate(candidates) if made[n] not in made[:n]][:num]


def highest(scores: Mapping[int, Sequence[float]], num: int) -> list[int]:
    """The numbers of the highest means, highest first; of equals the first."""
    return sorted(scores, key=lambda n: -float(np.mean(scores[n])))[:num]


def _different(*candidates: Keys) -> list[Keys]:
    return [keys for n, keys in enumerate(candidates) if keys not in candidates[:n]]
