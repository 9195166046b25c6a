"""Several classifiers that answer together.

    arithmetic:  p^T = sum over members of w * softmax(z / T)
    geometric:   p^T = softmax(sum over members of w * z / T)

with weights w that sum to 1; T = 1 where nothing else is asked (Hinton et al. 2015,
arXiv:1503.02531, section 2, names both means). The geometric mean of the members' probabilities,
normalised, is the softmax of their mean logits. What the ensemble itself gives as logits is log p
of the arithmetic mean, and the mean logits of the geometric one.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.networks.classifier import Classifier, Output

Mean = Literal["arithmetic", "geometric"]
MEMBERS = "members"  # the members' logits among an output's maps, (N, M, C)


class Ensemble(nn.Module):
    """Classifiers of the same classes in the same order, with one answer.

    Args:
        members: each with its own normalisation and image size.
        weights: of each, positive; they are divided by their sum.
        mean: of the members' answers.
    """

    def __init__(self, members: Sequence[Classifier], weights: Sequence[float], mean: Mean):
        super().__init__()
        self.members = nn.ModuleList(members)
        shares = torch.tensor(weights, dtype=torch.float64)
        self.register_buffer("weights", (shares / shares.sum()).float())
        self.averaged = mean

    @property
    def num_classes(self) -> int:
        """That each member answers over."""
        return self.members[0].num_classes

    def places(self, size: Sequence[int]) -> tuple[int, ...]:
        """Where in an image of a size (H, W) the members answer."""
        return self.members[0].places(size)

    @property
    def mean(self) -> Tensor:
        """The first member's, on the device."""
        return self.members[0].mean

    @property
    def image_size(self) -> int:
        """The largest side that a member resizes images to; 0 where none does."""
        return max(member.image_size for member in self.members)

    def features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, F), the members' side by side."""
        return torch.cat([member.features(images) for member in self.members], dim=1)

    def forward(self, images: Tensor) -> Output:
        """(N, C, H, W) -> logits (N, K), features (N, F) and, among the maps, the members' logits
        (N, M, K)."""
        said = [member(images) for member in self.members]
        logits = torch.stack([output.logits.float() for output in said], dim=1)
        features = torch.cat([output.features for output in said], dim=1)
        output = Output(logits[:, 0], features, {MEMBERS: logits})
        if self.averaged == "geometric":
            return output._replace(logits=self._weighted(logits))
        return output._replace(logits=self.log_probs(output))

    def log_probs(self, output: Output, temperature: float = 1.0) -> Tensor:
        """log p^T of what it said: (N, K)."""
        softened = output.maps[MEMBERS] / temperature
        if self.averaged == "geometric":
            return F.log_softmax(self._weighted(softened), dim=1)
        shares = self._shares(softened).log()
        return (F.log_softmax(softened, dim=2) + shares).logsumexp(1)

    def _weighted(self, logits: Tensor) -> Tensor:
        """The weighted mean over members, (N, M, K) -> (N, K)."""
        return (logits * self._shares(logits)).sum(1)

    def _shares(self, logits: Tensor) -> Tensor:
        """The weights in the shape of the members' logits, (M, 1) or (M, 1, 1, 1)."""
        return self.weights.view(-1, *[1] * (logits.ndim - 2))
