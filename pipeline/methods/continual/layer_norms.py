"""The squared norm of each layer's output, as a function of that layer's weights alone."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.networks.classifier import Classifier


class LayerNorms:
    """Adds up the squared norms of all layers' outputs in a forward pass, behind a ReLU where one
    takes just that output. No gradient reaches a layer's input, so the gradient in a weight is that
    of its own layer's norm.

    Args:
        network: in eval mode; its hooks stay for good.
        columns: logits whose heads count; those of other heads do not.
        image: any, (1, C, H, W), on the network's device.
    """

    def __init__(self, network: Classifier, columns: slice, image: Tensor):
        self._norms: list[tuple[Tensor, Tensor, bool]] = []  # (the output, a copy, behind a ReLU)
        heads = [head for head, where in _heads(network) if _overlap(where, columns)]
        for layer in _layers(network.backbone, _called(network, image)) + heads:
            layer.register_forward_pre_hook(_alone)
            layer.register_forward_hook(_recorder(self._norms))
        for module in network.modules():
            if isinstance(module, nn.ReLU):
                module.register_forward_pre_hook(_marker(self._norms))

    def take(self) -> Tensor:
        """Of the last pass, over all its images: ()."""
        norms, self._norms[:] = list(self._norms), []
        return sum((kept.relu() if relu else kept).square().sum() for _, kept, relu in norms)


def _heads(network: Classifier) -> list[tuple[nn.Module, slice]]:
    """Each head and its logits."""
    heads, start = [], 0
    for head in network.heads.values():
        heads.append((head, slice(start, start := start + head.out_features)))
    return heads


def _overlap(one: slice, other: slice) -> bool:
    return one.start < other.stop and other.start < one.stop


@torch.no_grad()
def _called(network: Classifier, image: Tensor) -> set[nn.Module]:
    """The modules that a pass calls; an attention may use its projections' weights without that."""
    called: set[nn.Module] = set()
    hooks = [m.register_forward_hook(lambda m, *_: called.add(m)) for m in network.modules()]
    network(image)
    for hook in hooks:
        hook.remove()
    return called


def _layers(module: nn.Module, called: set[nn.Module]) -> list[nn.Module]:
    """The modules with weights, of those that are called and have no such module inside."""
    inside = [layer for child in module.children() for layer in _layers(child, called)]
    has_weights = next(module.parameters(), None) is not None
    return inside or ([module] if has_weights and module in called else [])


# functions and not methods, which a copy of the network would take a copy of their object with
def _alone(_layer: nn.Module, inputs: tuple) -> tuple:
    return tuple(value.detach() if isinstance(value, Tensor) else value for value in inputs)


def _recorder(norms: list) -> Callable:
    def record(_layer: nn.Module, _inputs: tuple, output: Tensor | tuple) -> None:
        output = output[0] if isinstance(output, tuple) else output
        norms.append((output, output.clone(), False))  # a layer behind it may work in place

    return record


def _marker(norms: list) -> Callable:
    def mark(_relu: nn.Module, inputs: tuple) -> None:
        if norms and inputs[0] is norms[-1][0]:
            norms[-1] = (*norms[-1][:2], True)

    return mark
