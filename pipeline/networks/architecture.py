"""What params may ask of a network, known before it is built."""

from collections.abc import Callable
from typing import NamedTuple

from torch import nn


class Architecture(NamedTuple):
    """A network by its name."""

    build: Callable[[int, float, float], nn.Module]  # of channels, width, stochastic depth
    residual: bool = False  # has residual blocks, which stochastic depth may drop
    any_width: bool = True  # else its width is 1
    least_side: int = 1  # pixels of an image that leave it something to pool
    exact_side: int = 0  # of the only images that it takes; 0 = it takes others as well
