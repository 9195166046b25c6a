"""Structured distillation of dense answers (Liu et al. 2019, arXiv:1903.04197).

    L = CE + pixel * mean over pixels of KL(p_t || p)
           + pair * mean over pairs of nodes i, j of (a_ij - a_ij of the teacher)^2
           - holistic * mean over images of D(image, p)

a_ij is the cosine of two nodes' features, nodes being the patches of an inner layer, averaged; all
pairs count. D is a critic that learns beside the student: it is to be high where the answer is the
teacher's and low where it is the student's, as a Wasserstein GAN with gradient penalty (Gulrajani
et al. 2017, arXiv:1704.00028). Its gradient reaches the student through the last term alone, and
the student's labels never reach it.

Defaults are the paper's weights, with patches of 2 x 2. Our choices: the critic is four strided
convolutions without the paper's self-attention, learns by Adam as Gulrajani et al. have it, one
step after each of the student's, and does not ship. Maps of two sizes are compared at the smaller.
"""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from pipeline.data.batches import Part
from pipeline.data.kinds import SEGMENTATION
from pipeline.methods.distillation.kd import divergence
from pipeline.methods.distillation.taught import OfLayers
from pipeline.networks.classifier import Classifier, Output
from pipeline.training.learner import below, full
from pipeline.training.method import Setting

# of the critic, as Gulrajani et al. have them: for a gradient that is not of length 1, and of Adam
PENALTY = 10.0
RATE, BETAS = 1e-4, (0.0, 0.9)


class StructuredDistillation(OfLayers):
    """Structured distillation (Liu et al. 2019): pixels, pairs of places and the whole answer are
    to be like the teacher's.

    Of models that answer each pixel; in the place of `kd`, with any method that compares inner
    layers.
    """

    class Options(OfLayers.Options):
        """Of structured distillation."""

        pixel: float = Field(10.0, ge=0, le=1_000_000, description="weight of each pixel's answer")
        pair: float = Field(
            10.0, ge=0, le=1_000_000, description="weight of the likeness of places"
        )
        patch: int = Field(2, ge=1, le=64, description="side of a place on the inner layer's map")
        holistic: float = Field(
            0.1, ge=0, le=1000, description="weight of a critic's opinion of the whole answer"
        )

    name = "structured"
    kinds = (SEGMENTATION,)
    excludes = ("kd", "decoupled")
    _critic: "Critic | None" = None

    @property
    def capturable(self) -> bool:
        """Not with a critic, whose penalty is drawn at each step."""
        return not self.options.holistic

    def start(self, setting: Setting) -> None:
        """A critic, if it is asked."""
        super().start(setting)
        if self.options.holistic:
            channels = setting.images.dataset.image_shape[0] + setting.network.num_classes
            self._critic = Critic(channels).to(setting.network.mean.device)
            self._adam = torch.optim.Adam(self._critic.parameters(), RATE, BETAS)

    @property
    def state(self) -> dict[str, Tensor]:
        """The critic's weights, and what its optimiser keeps."""
        if self._critic is None:
            return {}
        state = {f"critic/{name}": values for name, values in self._critic.state_dict().items()}
        for place, slots in self._adam.state_dict()["state"].items():
            state |= {f"adam/{place}/{name}": values for name, values in slots.items()}
        return state

    @state.setter
    def state(self, state: dict[str, Tensor]) -> None:
        if not state:
            return
        self._critic.load_state_dict(below(state, "critic/"))
        slots: dict[int, dict[str, Tensor]] = {}
        for key, values in below(state, "adam/").items():
            place, name = key.split("/")
            slots.setdefault(int(place), {})[name] = values
        groups = self._adam.state_dict()["param_groups"]
        self._adam.load_state_dict({"state": slots, "param_groups": groups})

    def losses(
        self, network: Classifier, batch: dict[str, Part], output: Output
    ) -> Mapping[str, Tensor]:
        """The weighted loss."""
        taught = self.teaching(batch)
        loss = self.loss(batch, output, taught)
        if not self.options.holistic:
            return {self.name: loss}
        images = torch.cat([part.images for part in batch.values()])
        images = images.float() / 255 if images.dtype == torch.uint8 else images
        mine, theirs = full(output.logits).softmax(1), self.teaching.log_probs(taught).exp()
        self._seen = images, mine.detach(), theirs
        fixed = {name: weight.detach() for name, weight in self._critic.named_parameters()}
        opinion = functional_call(self._critic, fixed, (images, mine)).mean()
        return {self.name: loss - self.options.holistic * opinion}

    def after_step(self, network: Classifier, batch: dict[str, Part], output: Output) -> None:
        """Train the critic on the answers of this step."""
        if not self.options.holistic:
            return
        apart, penalty = critic_losses(self._critic, *self._seen)
        self._adam.zero_grad(set_to_none=True)
        (apart + PENALTY * penalty).backward()
        self._adam.step()
        self.notes = {"critic": apart.detach()}

    def loss(self, batch: dict[str, Part], output: Output, taught: Output) -> Tensor:
        """Of pixels and pairs."""
        mine = F.log_softmax(full(output.logits), dim=1)
        pixels = divergence(mine, self.teaching.log_probs(taught)).mean()
        total = self.options.pixel * pixels
        if self.options.pair:
            pairs = [distance(*pair, self.options.patch) for pair in self.maps(output, taught)]
            total = total + self.options.pair * sum(pairs)
        return total


def distance(maps: Tensor, theirs: Tensor, patch: int) -> Tensor:
    """Between the likeness of places in (N, C, H, W) and in (N, C', H', W'): a number."""
    size = [-(-min(sides) // patch) for sides in zip(maps.shape[2:], theirs.shape[2:])]
    return (affinity(maps, size) - affinity(theirs, size)).square().mean()


def affinity(maps: Tensor, size: list[int]) -> Tensor:
    """Cosines of all pairs of places: (N, C, H, W), averaged to (h, w) -> (N, h w, h w)."""
    nodes = F.normalize(F.adaptive_avg_pool2d(full(maps), size).flatten(2), dim=1)
    return nodes.transpose(1, 2) @ nodes


class Critic(nn.Module):
    """Says how much an answer looks like the teacher's: any number, high for yes.

    Args:
        channels: of an image and an answer together.
    """

    def __init__(self, channels: int, width: int = 32):
        super().__init__()
        sizes = [channels, width, 2 * width, 4 * width, 4 * width]
        layers = [nn.Conv2d(a, b, 3, 2, 1) for a, b in zip(sizes, sizes[1:])]
        self.layers = nn.ModuleList(layers)
        self.last = nn.Linear(sizes[-1], 1)

    def forward(self, images: Tensor, probs: Tensor) -> Tensor:
        """Images (N, C, H, W) in 0..1 and answers (N, K, H, W) -> (N,)."""
        values = torch.cat([images, probs], dim=1)
        for layer in self.layers:
            values = F.leaky_relu(layer(values), 0.2)
        return self.last(values.mean((2, 3)))[:, 0]


def critic_losses(
    critic: Critic, images: Tensor, mine: Tensor, theirs: Tensor
) -> tuple[Tensor, Tensor]:
    """What the critic descends: mean D of the student's minus that of the teacher's answers; and,
    at a point between the two, how far its gradient is from length 1, squared."""
    share = torch.rand(len(mine), 1, 1, 1, device=mine.device)
    between = (share * mine + (1 - share) * theirs).requires_grad_()
    said = critic(images, between).sum()
    [slope] = torch.autograd.grad(said, between, create_graph=True)
    penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    return critic(images, mine).mean() - critic(images, theirs).mean(), penalty
