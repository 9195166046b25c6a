"""Masks over a backbone's weights: which of them a task's head sees (Mallya et al. 2018,
arXiv:1801.06519).

    w_task = w * [real > threshold], for the weights of convolutions and linear layers

A mask is learnt as real numbers, whose gradient is that of the 0 or 1 in their place (straight
through), and ships as 0 or 1: a byte for each weight. The weights themselves stay as they are.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call


class Masks(nn.Module):
    """0 or 1 for each weight of a backbone's convolutions and linear layers, 1 to begin with.

    Args:
        backbone: what they are for; it is not kept.
    """

    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.threshold, self.rate = 0.0, 1.0
        for name, weight in masked_weights(backbone).items():
            self.register_buffer(_key(name), torch.ones_like(weight, dtype=torch.bool).flatten())

    def learn(self, start: float, threshold: float, rate: float = 1.0) -> None:
        """Put real numbers in the place of 1 and 0, to be trained.

        Args:
            start: of each number.
            threshold: above which one counts as 1.
            rate: multiplies the gradient.
        """
        self.threshold, self.rate = threshold, rate
        for key, mask in dict(self.named_buffers()).items():
            delattr(self, key)
            # flat, because weight decay is for what has more dimensions: it would pull every mask
            # below the threshold, whatever the task says
            real = torch.full(mask.shape, start, device=mask.device)
            self.register_parameter(key, nn.Parameter(real))

    def settle(self) -> None:
        """Put 1 and 0 in the place of what was trained."""
        for key, real in dict(self.named_parameters()).items():
            delattr(self, key)
            self.register_buffer(key, real.detach() > self.threshold)

    def features(self, backbone: nn.Module, images: Tensor) -> Tensor:
        """What the backbone says of images under these masks, (N, F)."""
        weights = {
            name: weight * self._mask(name).view_as(weight)
            for name, weight in masked_weights(backbone).items()
        }
        return functional_call(backbone, weights, (images,))

    def _mask(self, name: str) -> Tensor:
        mask = getattr(self, _key(name))
        if mask.dtype == torch.bool:
            return mask
        # the difference is 0, and has the gradient of what it is of
        return (mask > self.threshold).to(mask.dtype) + self.rate * (mask - mask.detach())


def masked_weights(backbone: nn.Module) -> dict[str, Tensor]:
    """The weights that masks are over, by name."""
    return {
        f"{name}.weight": layer.weight
        for name, layer in backbone.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    }


def _key(name: str) -> str:
    return name.replace(".", "/")  # torch allows no dots
