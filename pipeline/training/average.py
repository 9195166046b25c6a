"""The moving average of a network's weights."""

import copy

import torch
from torch import Tensor, nn


class Average:
    """ema <- ema + share * (network - ema), BatchNorm's statistics too; its counts are copied.

    The tensors of both networks are listed once: they are to be changed in place from then on, as
    optimisers and `load_state_dict` do.

    Args:
        network: what is averaged, on its device and in its memory layout.

    Attributes:
        network: the average: a copy of the network as it was, in eval mode, without gradients.
        share: of the network in the next `move`, 0..1; a number, or a tensor () on the device,
            which is read there and gives the same up to rounding.
    """

    def __init__(self, network: nn.Module):
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.share: float | Tensor = 0.0
        pairs = list(zip(_tensors(self.network), _tensors(network), strict=True))
        self._averaged = _columns(pair for pair in pairs if pair[0].is_floating_point())
        self._copied = _columns(pair for pair in pairs if not pair[0].is_floating_point())

    def pace(self, decay: float, step: int) -> None:
        """Set the share of step `step`, see `share`; a tensor on the device is filled."""
        now, old = share(decay, step), self.share
        self.share = old.fill_(now) if isinstance(old, Tensor) else now

    @torch.no_grad()
    def move(self) -> None:
        """Take the network in."""
        ours, theirs = self._averaged
        if isinstance(self.share, Tensor):
            ways = torch._foreach_sub(theirs, ours)
            torch._foreach_mul_(ways, self.share)
            torch._foreach_add_(ours, ways)
        else:
            torch._foreach_lerp_(ours, theirs, self.share)
        if self._copied[0]:
            torch._foreach_copy_(*self._copied)


def share(decay: float, step: int) -> float:
    """1 - decay, the decay held below (1 + step) / (10 + step), so that the first weights, which
    are random, are soon forgotten."""
    return 1 - min(decay, (1 + step) / (10 + step))


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]


def _columns(pairs) -> tuple[list[Tensor], list[Tensor]]:
    pairs = list(pairs)
    return [ours for ours, _ in pairs], [theirs for _, theirs in pairs]
