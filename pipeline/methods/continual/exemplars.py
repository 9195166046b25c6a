"""Images that are kept of earlier tasks: which, and how they are told apart.

A memory is five tensors, a row an image: `image` uint8 (M, C, H, W); `target` float32 (M, K), over
the K logits known when it was chosen; `label` int64 (M,), the logit of its class; `sure` bool (M,),
whether its label was given and not a model's; `home` int64 (M, 3), its task's number and the first
and last + 1 logit of its task's block. The rows of a class of a task stand together, the one to be
dropped last first.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.networks.classifier import Classifier
from pipeline.networks.evaluate import at_a_time

Memory = Mapping[str, Tensor]


def herd(features: Tensor, num: int) -> list[int]:
    """Which samples to keep, the first the dearest: each brings the mean of those kept nearest to
    the mean of all (Welling 2009; Rebuffi et al. 2017, arXiv:1611.07725).

    Args:
        features: of the samples of one class, (N, F), each divided by its L2 norm here.
        num: of them to keep, at most N.
    """
    features = F.normalize(features.double(), dim=1)
    goal, total = features.mean(0), torch.zeros_like(features[0])
    kept: list[int] = []
    for size in range(1, min(num, len(features)) + 1):
        far = (goal - (total + features) / size).square().sum(1)
        far[kept] = float("inf")
        kept.append(int(far.argmin()))
        total = total + features[kept[-1]]
    return kept


@torch.no_grad()
def pooled(network: Classifier, images: Tensor | np.ndarray) -> Tensor:
    """A network's features of images without noise, float32 (N, F) on the CPU.

    Args:
        network: left in the mode it came in.
        images: uint8 (N, C, H, W).
    """
    device, was_training = network.mean.device, network.training
    size = at_a_time(images.shape[2] * images.shape[3], device)
    network.eval()
    pieces = [images[start : start + size] for start in range(0, len(images), size)]
    found = [network.features(torch.as_tensor(piece).to(device)).float().cpu() for piece in pieces]
    network.train(was_training)
    return torch.cat(found)


def classes(memory: Memory) -> Iterator[Tensor]:
    """The rows of each class of each task, int64, the dearest first."""
    if not memory:
        return
    keys = torch.stack([memory["home"][:, 0], memory["label"]], 1)
    for key in keys.unique(dim=0):
        yield (keys == key).all(1).nonzero().flatten()


def num_tasks(memory: Memory) -> int:
    """How many tasks it has images of."""
    return int(memory["home"][-1, 0]) + 1 if memory else 0


def shrunk(memory: Memory, share: int) -> dict[str, Tensor]:
    """The memory with the `share` dearest images of each class of each task."""
    kept = [rows[:share] for rows in classes(memory)]
    return {name: value[torch.cat(kept)] for name, value in memory.items()} if kept else {}


def joined(memories: list[Memory]) -> dict[str, Tensor]:
    """One memory of several; what a model did not know yet has probability 0."""
    whole = [memory for memory in memories if memory]
    if not whole:
        return {}
    known = max(memory["target"].shape[1] for memory in whole)
    whole = [{**memory, "target": padded(memory["target"], known)} for memory in whole]
    return {name: torch.cat([memory[name] for memory in whole]) for name in whole[0]}


def padded(targets: Tensor, known: int) -> Tensor:
    """Probabilities (M, K) with zeros for newer classes: (M, known)."""
    return F.pad(targets, (0, known - targets.shape[1]))
