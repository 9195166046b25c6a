"""Outputs of a network's inner layers, by the layers' names, without a change of the network."""

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from pipeline.core.errors import UserError, nearest


class FeatureMaps:
    """Records what named modules of a network put out at every forward pass.

    Args:
        network: its forward hooks stay for good, so compile it afterwards.
        names: as `named_modules` has them, e.g. `backbone.layers.6`.

    Raises:
        UserError: a name that the network does not have.
    """

    def __init__(self, network: nn.Module, names: Iterable[str]):
        self._maps: dict[str, Tensor] = {}
        modules = dict(network.named_modules())
        for name in names:
            if name not in modules:
                what = f"the network has no layer '{name}'"
                raise UserError("layers", what, nearest(name, filter(None, modules)))
            modules[name].register_forward_hook(self._recorder(name))

    def _recorder(self, name: str):
        def record(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
            self._maps[name] = output

        return record

    def take(self) -> Mapping[str, Tensor]:
        """The maps (N, ...) of the last pass, with their gradient."""
        maps, self._maps = self._maps, {}
        return maps
