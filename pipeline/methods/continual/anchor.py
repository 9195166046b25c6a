"""What methods share that pull weights back to where they were: the weighted squared distance."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def distance(
    network: nn.Module, anchor: Mapping[str, Tensor], importance: Mapping[str, Tensor]
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


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights as they are, by name."""
    return {name: weight.detach().clone() for name, weight in network.named_parameters()}
