"""A generalist and specialists for classes that it confuses (Hinton et al. 2015, arXiv:1503.02531,
section 5), or experts that each know a part of the classes, with one answer.

A specialist m answers over its own classes S_m and a dustbin for all others. The common answer q
over all K classes is the one that minimises

    KL(p^g || q) + sum over active m of KL(p^m || q_m)

where q_m is q on S_m and, in the dustbin, q's mass outside S_m; p^g is the generalist's answer,
whose term is left out of experts. A specialist is active where S_m holds one of the generalist's
likeliest classes; an expert always is. With none active q is p^g.

Up to a constant this is the negative log-likelihood of answers as counts, those in a dustbin known
to be of some class outside S_m: concave in q, so expectation-maximisation (share a dustbin's mass
out as q has it, then average) leads to its only optimum, each round closer. The paper's descent on
free logits leads to the same q, and needs a rate.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.networks.classifier import Classifier, Output

ROUNDS = 60  # the distance to the optimum shrinks by M / (M + 1) a round, or faster, M active
SMALLEST = 1e-30  # of a probability that is divided by, or whose logarithm is taken


class Specialists(nn.Module):
    """Classifiers of parts of the classes with one answer over all of them.

    Args:
        members: one for each subset, whose logits are of the subset's classes, in that order, and
            of the dustbin.
        subsets: columns of each one's classes.
        num_classes: K.
        generalist: answers over all classes, and says who is active; None for experts.
        active: how many of its likeliest classes are looked at.
    """

    def __init__(
        self,
        members: Sequence[Classifier],
        subsets: Sequence[Sequence[int]],
        num_classes: int,
        generalist: Classifier | None,
        active: int,
    ):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.generalist = generalist
        self.subsets = [list(subset) for subset in subsets]
        self.num_classes = num_classes
        self.active = active
        inside = torch.zeros(len(subsets), num_classes)
        for row, subset in zip(inside, self.subsets):
            row[subset] = 1
        self.register_buffer("inside", inside, persistent=False)

    def places(self, size: Sequence[int]) -> tuple[int, ...]:
        """Where in an image of a size (H, W) it answers: (), once for all of it."""
        return ()

    @property
    def mean(self) -> Tensor:
        """A member's, on the device."""
        return self.members[0].mean

    @property
    def image_size(self) -> int:
        """The largest side that a member resizes images to; 0 where none does."""
        return max(member.image_size for member in self.members)

    def features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, F): the generalist's, or the members' side by side."""
        if self.generalist is not None:
            return self.generalist.features(images)
        return torch.cat([member.features(images) for member in self.members], dim=1)

    def forward(self, images: Tensor) -> Output:
        """(N, C, H, W) -> logits log q (N, K) and features (N, F)."""
        outputs = [member(images) for member in self.members]
        if self.generalist is None:
            general, features = None, torch.cat([o.features for o in outputs], dim=1)
        else:
            said = self.generalist(images)
            general, features = said.logits.float().softmax(1), said.features
        answers = [output.logits.float().softmax(1) for output in outputs]
        q = self.united(general, answers)
        return Output(q.clamp_min(SMALLEST).log(), features)

    def log_probs(self, output: Output, temperature: float = 1.0) -> Tensor:
        """log softmax(log q / T) of what it said: (N, K)."""
        return F.log_softmax(output.logits / temperature, dim=1)

    def united(self, general: Tensor | None, answers: Sequence[Tensor]) -> Tensor:
        """q (N, K).

        Args:
            general: p^g (N, K), or None.
            answers: p^m of each member, (N, |S_m| + 1), the dustbin last.
        """
        votes = self._active(general, answers)
        nothing = answers[0].new_zeros(len(answers[0]), self.num_classes)
        known = nothing if general is None else general
        for vote, subset, answer in zip(votes.unbind(1), self.subsets, answers):
            place = torch.tensor(subset, device=answer.device).expand(len(answer), -1)
            known = known + nothing.scatter(1, place, answer[:, :-1]) * vote[:, None]
        dustbins = torch.stack([answer[:, -1] for answer in answers], 1) * votes  # (N, M)
        total = votes.sum(1, keepdim=True) + (general is not None)
        outside = (1 - self.inside).to(known.dtype)  # (M, K)
        q = torch.full_like(known, 1 / self.num_classes) if general is None else general
        for _ in range(ROUNDS):
            shares = dustbins / (q @ outside.T).clamp_min(SMALLEST)
            q = (known + q * (shares @ outside)) / total
        return q

    def _active(self, general: Tensor | None, answers: Sequence[Tensor]) -> Tensor:
        """1 where a member counts, else 0: (N, M)."""
        if general is None:
            return answers[0].new_ones(len(answers[0]), len(answers))
        likeliest = general.topk(min(self.active, self.num_classes), dim=1).indices
        chosen = torch.zeros_like(general).scatter(1, likeliest, 1.0)
        return (chosen @ self.inside.T.to(general.dtype) > 0).to(general.dtype)
