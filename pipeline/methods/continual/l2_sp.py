"""L2-SP (Li et al. 2018, arXiv:1802.01483).

    L = CE(new) + weight / 2 * sum over shared weights of (w - w_base)^2

Shared is everything but the heads: kernels, biases, BatchNorm's scales and shifts. The penalty is
there in place of the decay towards 0, so the recipe's `training.weight_decay` is left to the heads,
as the paper's second term is. The paper chooses the weight on val from 1e-3, 1e-2, 1e-1 and 1; the
default is of their middle.
"""

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor

from pipeline.core.block import Block
from pipeline.data.batches import Part
from pipeline.methods.continual.anchor import distance
from pipeline.networks.classifier import Classifier, Output
from pipeline.training.method import Method, Setting


class L2SP(Method):
    """L2-SP (Li et al. 2018): keeps the weights that tasks share near those of the base.

    With any method; beside EWC or MAS, which pull each weight by what it is worth, it pulls what is
    worth nothing as well.
    """

    class Options(Block):
        """Of L2-SP."""

        weight: float = Field(
            0.1, ge=0, le=1000, description="of half the squared distance to the base's weights"
        )

    capturable = True

    def __init__(self, options: Options):
        super().__init__(options)
        self._base: dict[str, Tensor] = {}

    def start(self, setting: Setting) -> None:
        """Take the base's weights, if there is an earlier task."""
        if setting.blocks.old:
            [base] = setting.teachers.values()
            shared = {name: w.detach() for name, w in base.named_parameters()}
            self._base = {name: w for name, w in shared.items() if not _of_a_head(name)}

    def decays(self, name: str) -> bool:
        """What is pulled to the base is not pulled to 0."""
        return name not in self._base

    def losses(
        self, network: Classifier, batch: dict[str, Part], output: Output
    ) -> Mapping[str, Tensor]:
        """`l2_sp`: the weighted distance; nothing without an old task."""
        if not self._base:
            return {}
        alike = dict.fromkeys(self._base, 1.0)
        return {"l2_sp": self.options.weight / 2 * distance(network, self._base, alike)}


def _of_a_head(name: str) -> bool:
    return name.startswith("heads.")
