"""How long a model takes to answer."""

from collections.abc import Sequence
from statistics import median
from timeit import Timer

import numpy as np

from pipeline.export.formats import Answers

BATCHES = (1, 64)  # images at once
ROUNDS = 5  # of about a fifth of a second, whose median counts


def milliseconds(answers: Answers, shape: Sequence[int]) -> list[float]:
    """The median time of an answer to each of `BATCHES`, with the threads that are set.

    Args:
        shape: (C, H, W) of an image.
    """
    rng, times = np.random.default_rng(0), []
    for num in BATCHES:
        images = rng.integers(0, 256, (num, *shape), dtype=np.uint8)
        timer = Timer("answers(images)", globals={"answers": answers, "images": images})
        often, _ = timer.autorange()
        times.append(1000 * median(timer.repeat(ROUNDS, often)) / often)
    return times
