"""A recipe's optimiser, and the schedule of its learning rate."""

from collections.abc import Iterable
from math import cos, pi

import torch
from torch import Tensor

from pipeline.training.recipe import OPTIMIZERS, Training
from pipeline.training.sgd import SGD


def make_optimizer(
    weights: Iterable[Tensor], training: Training, spared: Iterable[Tensor] = ()
) -> SGD | torch.optim.AdamW:
    """The recipe's optimiser of those weights that take gradients; weight decay on matrices and
    kernels only, and on none that are `spared`."""
    weights = [weight for weight in weights if weight.requires_grad]
    free = {id(weight) for weight in spared} | {id(w) for w in weights if w.ndim <= 1}
    decayed = [weight for weight in weights if id(weight) not in free]
    groups = [
        {"params": decayed, "weight_decay": training.weight_decay},
        {"params": [w for w in weights if id(w) in free], "weight_decay": 0.0},
    ]
    return OPTIMIZERS[training.optimizer](groups, lr=training.learning_rate)


def set_rate(optimizer: SGD | torch.optim.Optimizer, rate: float) -> None:
    """Step at this rate from now on; a rate that is a tensor on the device is filled."""
    for group in optimizer.param_groups:
        old = group["lr"]
        group["lr"] = old.fill_(rate) if isinstance(old, Tensor) else rate


def learning_rate(training: Training, step: int) -> float:
    """Linear warm-up to the peak, then a half cosine down to 0 just after the last step."""
    if step < training.warmup_steps:
        return training.learning_rate * (step + 1) / training.warmup_steps
    done = (step - training.warmup_steps) / max(1, training.steps - training.warmup_steps)
    return training.learning_rate * 0.5 * (1 + cos(pi * min(done, 1.0)))
