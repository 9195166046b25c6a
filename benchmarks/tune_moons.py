"""Settings under which a small network gains by the student's feedback on the two moons.

`python -m benchmarks.tune_moons` draws settings for two hidden layers of eight units, the size of
the network in Pham et al. 2021 (arXiv:2003.10580, section 3.1), trains pairs with feedback and
without on a few validation draws, and those that gain most on more of them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from benchmarks.search import Keys, draw
from benchmarks.study import mean_interval
from benchmarks.two_moons import Moons, Toy, pair

SETTINGS, BEST = 17, 4
FIRST, MORE = range(1000, 1004), range(1004, 1016)
SPACE = {
    "activation": ["ReLU", "Tanh"],
    "optimizer": ["adamw", "sgd"],
    "rate": [0.01, 0.03, 0.1],
    "constant": [True, False],
    "batch": [32, 128],
    "scale": ["mean", "sum"],
    "consistency": [0.3, 1.0, 3.0],
    "wait": [0.0, 0.25],
}


def gains(keys: Keys, seeds: Iterable[int]) -> np.ndarray:
    """Accuracies (seeds, 2) of students with feedback and without."""
    toy = Toy(units=8, **keys)
    both = ("loss_difference", "none")
    drawn = [(Moons(seed, "val"), seed) for seed in seeds]
    return np.array([[m.accuracy(pair(toy, m, seed, f)[0]) for f in both] for m, seed in drawn])


def line(number: int, keys: Keys, table: np.ndarray) -> str:
    """Means, and the gain with its 95 % interval, in %."""
    mean, half = mean_interval(100 * (table[:, 0] - table[:, 1]))
    means = " ".join(f"{100 * value:.1f}" for value in table.mean(0))
    return f"{number}: {means} {mean:+.1f} ± {half:.1f}, {len(table)} seeds, {dict(keys)}"


def main() -> None:
    """Print every setting, then the best on more seeds."""
    torch.set_num_threads(1)
    drawn = draw(SPACE, SETTINGS, "moons")
    tables = {}
    for number, keys in enumerate(drawn):
        tables[number] = gains(keys, FIRST)
        print(line(number, keys, tables[number]), flush=True)
    order = sorted(tables, key=lambda n: -float(np.diff(tables[n][:, ::-1]).mean()))
    for number in order[:BEST]:
        print(line(number, drawn[number], gains(drawn[number], MORE)), flush=True)


if __name__ == "__main__":
    main()
