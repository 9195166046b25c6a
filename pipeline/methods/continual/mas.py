"""Memory Aware Synapses (Aljundi et al. 2018, arXiv:1711.09601).

    L = CE(new) + weight * sum over weights of Omega * (w - w_old)^2

Omega is how much an answer moves with a weight: the mean over images of |d ||f(x)||^2 / dw|, each
image's by itself. f are the logits that the task's cross-entropy ranged over, not their softmax;
the norm is squared, as in the paper. No label is asked for, so the task's unlabelled images are
looked at beside the labelled ones. Omega is summed over tasks; w_old are the weights after the
newest one. The network is the one that ships, in evaluation mode, on images as they are.

`local` is the paper's Hebbian variant: each layer's own squared norm takes the place of the
answer's, its input held fixed. Of a linear layer with a ReLU behind it that is the mean of
2 |x_i| relu(z_j), without one 2 |x_i| |z_j|. A layer is a module with weights and no such module
inside (a convolution, a BatchNorm, an attention); the ReLU is a module (`nn.ReLU`) that takes just
its output. Weights outside of layers (a transformer's class token) have no local Omega, and other
tasks' heads none of either kind.

The weight of 1 is the paper's. The gradient is 2 * weight * Omega * (w - w_old), but for weights
held so firmly that a step would overshoot, see `limit` and anchor.py: Omega grows with the square
of the logits.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from pipeline.core.block import Block
from pipeline.data.batches import Part
from pipeline.methods.continual.anchor import (
    IMAGES,
    LIMIT,
    Named,
    distance,
    limited,
    over_all,
    weights_of,
)
from pipeline.methods.continual.layer_norms import LayerNorms
from pipeline.networks.classifier import Classifier, Output
from pipeline.training.learner import below
from pipeline.training.method import Method, Setting
from pipeline.training.per_sample import mean_gradients


class MemoryAwareSynapses(Method):
    """Memory Aware Synapses (Aljundi et al. 2018): holds each weight as firmly as it moves the
    answers to labelled and unlabelled images of earlier tasks.

    With any method: with Learning without Forgetting it keeps the weights and the answers; EWC
    measures the same by other means, so one of the two will do.
    """

    class Options(Block):
        """Of Memory Aware Synapses."""

        weight: float = Field(
            1.0, ge=0, le=1000, description="of the squared distance, weighed by the importance"
        )
        variant: Literal["global", "local"] = Field(
            "global", description="what a weight is to move: the answer, or its own layer's output"
        )
        limit: float = LIMIT
        images: int = IMAGES

    consolidates = True
    reads_unlabelled = True
    capturable = True

    def __init__(self, options: Options):
        super().__init__(options)
        self._held: list[Named] = []

    def start(self, setting: Setting) -> None:
        """Take how firmly earlier tasks hold each weight, if there are any."""
        omega, rate = below(self.state, "omega/"), setting.training.learning_rate
        omegas, limit = [omega] if omega else [], self.options.limit
        self._held = limited(omegas, 2 * self.options.weight, rate, limit)

    def losses(
        self, network: Classifier, batch: dict[str, Part], output: Output
    ) -> Mapping[str, Tensor]:
        """`mas`: the weighted distance to the newest task's weights; nothing without one."""
        if not self._held:
            return {}
        pull = distance(network, below(self.state, "mean/"), self._held[0])
        return {"mas": self.options.weight * pull}

    def finish(self, setting: Setting) -> None:
        """Keep the weights, and how much each matters to all tasks so far."""
        older, omega = below(self.state, "omega/"), self.omega(setting)
        summed = {name: value + older.get(name, 0) for name, value in omega.items()}
        means = weights_of(setting.network).items()
        self.state = {f"omega/{name}": value for name, value in summed.items()}
        self.state |= {f"mean/{name}": weight for name, weight in means}

    def omega(self, setting: Setting) -> Named:
        """Of the setting's images, by the weight's name, of its shape."""
        most = self.options.images
        return over_all(setting.images, lambda images: self._omega(setting, images), most)

    def _omega(self, setting: Setting, images) -> Named:
        columns = setting.blocks.trained
        if self.options.variant == "global":
            return mean_gradients(setting.network, images, squared_norm(columns), torch.abs)
        network = copy.deepcopy(setting.network).eval()  # the hooks go with it
        norms = LayerNorms(network, columns, torch.as_tensor(images[:1]).to(network.mean.device))
        return mean_gradients(network, images, lambda _: norms.take(), torch.abs)


def squared_norm(columns: slice) -> Callable[[Tensor], Tensor]:
    """Of some of a sample's logits (K,): ()."""
    return lambda logits: logits[columns].square().sum()
