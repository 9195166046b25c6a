"""A small convolutional variational autoencoder (Kingma and Welling 2014, arXiv:1312.6114)."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALLEST = 4  # pixels: a side that is not halved any more


class Autoencoder(nn.Module):
    """Images of any shape; without BatchNorm, so that a sample does not depend on the others.

    Args:
        shape: of an image, (C, H, W).
        latent: numbers that an image is drawn from.
        width: channels at the full size; twice as many at half of it, and four times below.
    """

    def __init__(self, shape: tuple[int, int, int], latent: int, width: int):
        super().__init__()
        channels, *size = shape
        self.sizes, widths = [tuple(size)], [width]
        while max(self.sizes[-1]) > SMALLEST:
            self.sizes.append(tuple((side + 1) // 2 for side in self.sizes[-1]))
            widths.append(min(2 * widths[-1], 4 * width))
        pairs = list(zip(widths, widths[1:]))
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.up = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for a, b in reversed(pairs))
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        self.smallest = (widths[-1], *self.sizes[-1])
        num = widths[-1] * self.sizes[-1][0] * self.sizes[-1][1]
        self.moments = nn.Linear(num, 2 * latent)
        self.spread = nn.Linear(latent, num)

    @classmethod
    def of(cls, weights: Mapping[str, Tensor], shape: tuple[int, int, int]) -> "Autoencoder":
        """One with these weights, frozen, on their device."""
        width, latent = len(weights["first.bias"]), weights["spread.weight"].shape[1]
        made = cls(shape, latent, width)
        made.load_state_dict(dict(weights))
        return made.to(weights["first.bias"].device).requires_grad_(False).eval()

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Floats in 0..1 (N, C, H, W) -> mean and log-variance of what they are drawn from, both
        (N, latent)."""
        maps = F.relu(self.first(images))
        for layer in self.down:
            maps = F.relu(layer(maps))
        return self.moments(maps.flatten(1)).chunk(2, dim=1)

    def decode(self, latent: Tensor) -> Tensor:
        """(N, latent) -> logits of the pixels (N, C, H, W)."""
        maps = F.relu(self.spread(latent)).reshape(-1, *self.smallest)
        for layer, size in zip(self.up, reversed(self.sizes[:-1])):
            maps = F.relu(layer(F.interpolate(maps, size)))
        return self.last(maps)

    @torch.no_grad()
    def sample(self, num: int) -> Tensor:
        """New images by torch's own generator: floats in 0..1, (num, C, H, W)."""
        latent = torch.randn(num, self.spread.in_features, device=self.spread.weight.device)
        return self.decode(latent).sigmoid()

    def loss(self, images: Tensor) -> Tensor:
        """Minus the bound on log p(image), in nats, the mean over images of floats in 0..1."""
        mean, log_variance = self.encode(images)
        latent = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        logits = self.decode(latent)
        pixels = F.binary_cross_entropy_with_logits(logits, images, reduction="sum")
        return (pixels + divergence(mean, log_variance).sum()) / len(images)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) of each image, in nats: (N, L), (N, L) -> (N,)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2


def fit(
    model: Autoencoder, batches: Callable[[], Tensor], steps: int, learning_rate: float
) -> None:
    """Train a model by Adam.

    Args:
        batches: gives floats in 0..1, (N, C, H, W).
    """
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    for _ in range(steps):
        loss = model.loss(batches())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
