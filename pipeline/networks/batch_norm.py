"""BatchNorm by a batch's own statistics, without a trace in the running averages; batches counted
for all layers at once."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pipeline.core.errors import UserError


@contextmanager
def batch_statistics(network: nn.Module, noise: bool = False) -> Iterator[None]:
    """Evaluation mode but for BatchNorm, which normalises by the batch and records nothing; with
    `noise` dropout and stochastic depth stay as they are."""
    was = {module: module.training for module in network.modules()}
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    averages = [norm.track_running_stats for norm in norms]
    if not noise:
        network.eval()
    for norm in norms:
        norm.train()
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, tracked in zip(norms, averages):
            norm.track_running_stats = tracked
        for module, training in was.items():
            module.training = training


class BatchCounts:
    """Counts the batches that the BatchNorm layers of a network see, in one operation for all.

    Nothing here reads the counts, but they are part of a file of weights.
    """

    def __init__(self, network: nn.Module):
        self._norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]

    @contextmanager
    def together(self) -> Iterator[None]:
        """For one forward pass: layers in training mode do not count by themselves."""
        norms = [norm for norm in self._norms if _counts_for_nothing(norm)]
        counts = [norm.num_batches_tracked for norm in norms]
        for norm in norms:
            norm.num_batches_tracked = None
        try:
            yield
        finally:
            for norm, count in zip(norms, counts):
                norm.num_batches_tracked = count
        if counts:
            torch._foreach_add_(counts, 1)


def _counts_for_nothing(norm: nn.BatchNorm2d) -> bool:
    # without a momentum the average is over all batches, and by their number
    tracked = norm.track_running_stats and norm.num_batches_tracked is not None
    return norm.training and tracked and norm.momentum is not None


@torch.no_grad()
def check_one_image(network: nn.Module, image: Tensor) -> None:
    """Refuse to train on one image at a time where the network shrinks it to one pixel: a single
    value of a channel has no variance to normalise by.

    Args:
        network: in the mode that it trains in; left as it is.
        image: any (1, C, H, W).

    Raises:
        UserError: a BatchNorm layer in training mode would see a single value.
    """
    sizes: list[int] = []
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    if not norms:
        return
    modes = {module: module.training for module in network.modules()}
    hooks = [
        norm.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0][0, 0].numel()))
        for norm in norms
    ]
    network.eval()(image)
    for hook in hooks:
        hook.remove()
    for module, training in modes.items():
        module.training = training
    if 1 in sizes:
        what = "a pass over one image that the network shrinks to one pixel has no variance"
        raise UserError("training.batch_size", what, "raise it to 2 or more")
