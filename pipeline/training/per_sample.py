"""Gradients of single samples, of which only the mean of a function is kept.

The square of a batch's mean gradient is not the mean of its samples' squared gradients: where
those point every way, it is smaller by the number of samples. So each sample's own is needed.
"""

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from pipeline.networks.classifier import Classifier
from pipeline.networks.evaluate import at_a_time

GRADIENTS = 2**28  # bytes of gradients at once, at most
# samples at once: on a CPU more gain little (`benchmarks/RESULTS.md`); a GPU's is a guess
QUICKEST = {"cpu": 32, "cuda": 256}

Scalar = Callable[..., Tensor]


def mean_gradients(
    network: Classifier,
    images: np.ndarray | Tensor,
    scalar: Scalar,
    of_each: Callable[[Tensor], Tensor],
    targets: Tensor | None = None,
    chunk: int = 0,
) -> dict[str, Tensor]:
    """1/N * sum over samples of `of_each`(d scalar / d weights), for all of a network's weights.

    The network answers as it ships: in eval mode, BatchNorm by its running statistics, without
    dropout. At most so much memory is taken as the gradients and activations of one chunk need,
    twice the weights for its copy and the sum, and the largest layer's gradients once more; with
    `chunk` = 0 the gradients of a chunk have at most `GRADIENTS` bytes, or those of one sample.

    Args:
        network: a copy is worked with; frozen or not.
        images: uint8 (N, C, H, W), or floats in 0..1, on any device, N > 0.
        scalar: of one sample's logits (K,), and of its row of `targets` if there are any: ().
        of_each: of gradients, element by element: `torch.square` or `torch.abs`.
        targets: (N, ...).
        chunk: samples at once; 0 = as many as the memory above holds.

    Returns:
        by the weight's name, of its shape and type, on its device.
    """
    network = copy.deepcopy(network).eval()  # which is not compiled
    weights = {name: weight.detach() for name, weight in network.named_parameters()}
    device = network.mean.device

    def of_one(weights: dict[str, Tensor], image: Tensor, *target: Tensor) -> Tensor:
        return scalar(functional_call(network, weights, (image[None],)).logits[0], *target)

    given = [images] if targets is None else [images, targets]
    gradients = vmap(grad(of_one), in_dims=(None, *[0] * len(given)))
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    chunk = chunk or samples_at_once(network, images)
    for start in range(0, len(images), chunk):
        rows = [_rows(values, slice(start, start + chunk), device) for values in given]
        for name, each in gradients(weights, *rows).items():
            sums[name] += of_each(each).sum(0)
    return {name: total / len(images) for name, total in sums.items()}


def samples_at_once(network: Classifier, images: np.ndarray | Tensor) -> int:
    """As many as are quick, as a pass takes well, and as `GRADIENTS` holds; at least one."""
    device, (height, width) = network.mean.device, images.shape[2:]
    size = sum(weight.numel() * weight.element_size() for weight in network.parameters())
    pixels = max(network.image_size**2, height * width)
    most = min(QUICKEST.get(device.type, 32), at_a_time(pixels, device))
    return max(1, min(most, GRADIENTS // size))


def _rows(values: np.ndarray | Tensor, rows: slice, device: torch.device) -> Tensor:
    some = values[rows]
    return (torch.from_numpy(np.array(some)) if isinstance(some, np.ndarray) else some).to(device)
