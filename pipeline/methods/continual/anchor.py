"""What methods share that pull weights back to where they were: the weighted squared distance, how
hard a pull may be, and the mean of what single images say.

A gradient step on curvature / 2 * (w - w_old)^2 overshoots where learning rate * curvature is more
than 1, and grows without end from 2 on (about 3.8 with momentum 0.9). Importances span many orders
of magnitude, so that a weight which holds the small ones lets the great ones diverge. Hence the
limit: what is pulled harder is pulled just as hard as brings it back in one step.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.training.images import TrainingImages

Named = dict[str, Tensor]
LIMIT = Field(
    1.0,
    ge=0,
    le=100,
    description="of learning rate times curvature, so that a step does not overshoot what it pulls "
    "back; 0 = none, as in the paper, where training may diverge",
)
IMAGES = Field(
    2000,
    ge=0,
    description="that the importance is measured on at most, drawn at random from the task's; "
    "0 = all, which takes longer",
)


def distance(
    network: nn.Module, anchor: Mapping[str, Tensor], importance: Mapping[str, Any]
) -> Tensor:
    """sum over weights of importance * (weight - anchor)^2, (); its gradient in a weight is
    2 * importance * (weight - anchor).

    Args:
        anchor: the earlier weights by name; the network's other weights are free.
        importance: of their shapes, or that of each as one number; by the same names.
    """
    weights = dict(network.named_parameters())
    each = [
        (importance[k] * (weights[k] - earlier).square()).sum() for k, earlier in anchor.items()
    ]
    return torch.stack(each).sum()


def limited(importances: list[Named], curvature: float, rate: float, limit: float) -> list[Named]:
    """Importances of the same weights for several tasks, made smaller by one factor for all tasks
    where together they pull too hard.

    Args:
        curvature: of a pull whose importance is 1.
        rate: the highest learning rate.
        limit: of rate * curvature * the sum of importances; 0 = none.
    """
    if not limit or not importances:
        return importances
    total: Named = {}
    for one in importances:
        total |= {name: value + total.get(name, 0) for name, value in one.items()}
    shares = {k: (limit / (rate * curvature * t).clamp(min=limit)) for k, t in total.items()}
    return [{name: value * shares[name] for name, value in one.items()} for one in importances]


def weights_of(network: nn.Module) -> Named:
    """A copy of the weights as they are, by name."""
    return {name: weight.detach().clone() for name, weight in network.named_parameters()}


def over_all(images: TrainingImages, mean: Callable[[Any], Named], most: int = 0) -> Named:
    """The mean over a task's labelled and unlabelled images, of means over one set of images.

    Args:
        most: of them drawn at random, if there are more; 0 = all.
    """
    splits = [images.images(split) for split in ("labelled", "unlabelled")]
    rows, total = drawn(sum(map(len, splits)), most), {}
    num = len(rows)
    for some in splits:
        mine, rows = rows[rows < len(some)], rows[rows >= len(some)] - len(some)
        for name, value in mean(taken(some, mine)).items() if len(mine) else ():
            total[name] = total.get(name, 0) + value * (len(mine) / num)
    return total


def drawn(num: int, most: int) -> Tensor:
    """Rows of `num`, at most `most` of them unless that is 0, in order."""
    if not most or num <= most:
        return torch.arange(num)
    return torch.randperm(num)[:most].sort().values


def taken(values: Any, rows: Tensor) -> Any:
    """Rows of a tensor or of an array, which is left where it lies if they are all of it."""
    if len(rows) == len(values):
        return values
    return values[rows.to(values.device)] if isinstance(values, Tensor) else values[rows.numpy()]
