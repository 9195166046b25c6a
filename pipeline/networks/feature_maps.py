"""Outputs of a network's inner layers, by the layers' names, without a change of the network."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pipeline.core.errors import UserError, nearest
from pipeline.networks.classifier import Classifier


class FeatureMaps:
    """Records what named modules of a network put out at every forward pass.

    Args:
        network: its forward hooks stay until they are closed, so compile it afterwards.
        names: as `named_modules` has them, e.g. `backbone.layers.6`.

    Raises:
        UserError: a name that the network does not have.
    """

    def __init__(self, network: nn.Module, names: Iterable[str]):
        self._maps: dict[str, Tensor] = {}
        self._hooks: list[RemovableHandle] = []
        modules = dict(network.named_modules())
        for name in names:
            if name not in modules:
                what = f"the network has no layer '{name}'"
                raise UserError("layers", what, nearest(name, filter(None, modules)))
            self._hooks.append(modules[name].register_forward_hook(self._recorder(name)))

    def _recorder(self, name: str):
        def record(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
            self._maps[name] = output

        return record

    def take(self) -> Mapping[str, Tensor]:
        """The maps (N, ...) of the last pass, with their gradient."""
        maps, self._maps = self._maps, {}
        return maps

    def close(self) -> None:
        """Record no more."""
        for hook in self._hooks:
            hook.remove()


@torch.no_grad()
def outputs(network: Classifier, shape: Iterable[int]) -> dict[str, tuple[int, ...]]:
    """The shape of what each named module puts out for one image, batch aside, in the order in
    which they do; of those that put out one tensor. Found by a pass over a blank image, in
    evaluation mode; the network is left as it was.

    Args:
        shape: of an image, (C, H, W).
    """
    found: dict[str, tuple[int, ...]] = {}
    hooks = [
        module.register_forward_hook(lambda _m, _i, out, name=name: _note(found, name, out))
        for name, module in network.named_modules()
        if name
    ]
    modes = {module: module.training for module in network.modules()}
    try:
        network.eval().features(torch.zeros(1, *shape, device=network.mean.device))
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    return found


def last_spatial(network: Classifier, shape: Iterable[int]) -> str:
    """The name of the module whose output is the last that still has places, (N, C, H, W) with more
    than one: what is behind it has pooled them away.

    Args:
        shape: of an image, (C, H, W).

    Raises:
        UserError: no module's output has places.
    """
    spatial = [name for name, size in outputs(network, shape).items() if has_places(size)]
    if not spatial:
        what = "the network has no layer of several places left for these images"
        raise UserError("network", what, "use larger images, or another network")
    return spatial[-1]


def has_places(size: tuple[int, ...]) -> bool:
    """Whether an output of that shape, batch aside, is a map of more than one place."""
    return len(size) == 3 and size[1] * size[2] > 1


def _note(found: dict[str, tuple[int, ...]], name: str, output: object) -> None:
    if isinstance(output, Tensor):
        found.pop(name, None)  # called again: where it stands now
        found[name] = tuple(output.shape[1:])
