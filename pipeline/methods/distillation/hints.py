"""FitNets hints (Romero et al. 2015, arXiv:1412.6550).

    L = ... + weight * 1/2 * mean over images, channels and places of (u_h - r(v_g))^2

u_h is the teacher's map of its hint layer, v_g the student's of the guided layer, r a regressor of
our own: a 1x1 convolution to the teacher's channels, before it the student's map brought to the
teacher's size (the paper: a convolution whose kernel is as large as the maps differ, which has many
more weights). It learns with the student, by the recipe's optimiser, and does not ship.

With `alone_steps`, as in the paper, that many steps come first that train the student up to the
guided layer by this loss alone, no label and no other method; then it is off, and the rest (`kd`
with `end`, which is annealed) has the student that began so. Without, it is one loss among others.
"""

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.data.batches import Part
from pipeline.methods.distillation.taught import OfLayers
from pipeline.networks.classifier import Output
from pipeline.training.learner import full
from pipeline.training.method import Setting


class FitNets(OfLayers):
    """FitNets hints (Romero et al. 2015): inner maps of the student predict the teacher's.

    With any other; the paper goes on with `kd`.
    """

    class Options(OfLayers.Options):
        """Of FitNets hints."""

        weight: float = Field(
            100.0, ge=0, le=1_000_000, description="of half the mean squared difference"
        )
        alone_steps: int = Field(
            0,
            ge=0,
            le=10_000_000,
            description="steps of a first training by hints alone, after which they are off; "
            "0 = they are one loss among others",
        )

    name = "hints"

    @property
    def alone_steps(self) -> int:
        return self.options.alone_steps

    def start(self, setting: Setting) -> None:
        """A regressor for each pair of layers."""
        super().start(setting)
        self.module = nn.ModuleList(Regressor(mine, theirs) for mine, theirs in self.sizes)
        self.module.to(setting.network.mean.device)

    def loss(self, batch: dict[str, Part], output: Output, taught: Output) -> Tensor:
        losses = [
            (full(theirs) - full(regressor(mine))).square().mean() / 2
            for regressor, (mine, theirs) in zip(self.module, self.maps(output, taught))
        ]
        return self.options.weight * sum(losses)


class Regressor(nn.Module):
    """Predicts maps of one shape from maps of another.

    Args:
        given, wanted: shapes (C, H, W).
    """

    def __init__(self, given: tuple[int, int, int], wanted: tuple[int, int, int]):
        super().__init__()
        self.size = wanted[1:]
        self.convolution = nn.Conv2d(given[0], wanted[0], 1)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        if maps.shape[2:] != self.size:
            maps = F.interpolate(maps, self.size, mode="bilinear", antialias=True)
        return self.convolution(maps)
