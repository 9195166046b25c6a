"""A calibrated answer: logits divided by one number, fitted on val (Guo et al. 2017,
arXiv:1706.04599).

    p = softmax(logits / T)

T > 1 says that the model was too sure. No answer changes by it, only how sure the model is.
"""

import math

import torch
from torch import Tensor

LEAST = 30  # images: fewer say too little of how sure a model may be
RANGE = (-10.0, 10.0)  # of the logarithm of a temperature
HALVINGS = 60  # of that range, which leave nothing of it


def fit(logits: Tensor, labels: Tensor) -> float | None:
    """The temperature of least negative log-likelihood, which has no other minimum: it is convex in
    1/T, so its slope crosses zero once, and bisection finds where.

    Args:
        logits: (N, K), minus infinity allowed where a class is ruled out.
        labels: int64 (N,), positions in the rows; classes may be absent.

    Returns:
        T to six digits, at most e^10; None with fewer than 30 images, and where every image is
        right: any smaller T would be better yet.
    """
    if len(labels) < LEAST:
        return None
    logits = logits.double()
    given = logits.gather(1, labels[:, None])
    if bool((given[:, 0] == logits.max(1).values).all()):
        return None
    ahead = (logits - given).masked_fill(logits.isneginf(), 0.0)  # of the right class
    low, high = RANGE
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        probs = torch.softmax(logits / math.exp(middle), 1)
        too_sure = float((probs * ahead).sum(1).mean()) > 0
        low, high = (middle, high) if too_sure else (low, middle)
    return float(f"{math.exp(high):.6g}")


def of(card: dict) -> float:
    """The temperature of a model, from its card; 1 where none could be fitted."""
    return card.get("metrics", {}).get("temperature", 1.0)


def probabilities(logits: Tensor, temperature: float) -> Tensor:
    """softmax(logits / T): float32 (N, K) of float32 (N, K), minus infinity allowed."""
    return torch.softmax(logits / temperature, dim=1)
