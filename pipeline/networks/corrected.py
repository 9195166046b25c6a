"""A head whose logits are corrected for its bias (Wu et al. 2019, arXiv:1905.13260)."""

import torch
from torch import Tensor, nn


class CorrectedHead(nn.Linear):
    """alpha * (W f + b) + beta, of one task's block of logits.

    Args:
        in_features: F of the features (N, F).
        out_features: classes of the block.

    Attributes:
        alpha, beta: (), 1 and 0 at first; no gradient reaches them, and they are part of a file of
            weights.
    """

    def __init__(self, in_features: int, out_features: int):
        super().__init__(in_features, out_features)
        self.register_buffer("alpha", torch.ones(()))
        self.register_buffer("beta", torch.zeros(()))

    @classmethod
    def of(cls, head: nn.Linear) -> "CorrectedHead":
        """A head with the weights of `head`, the very same tensors, not corrected as yet."""
        made = cls(head.in_features, head.out_features).to(head.weight.device)
        made.weight, made.bias = head.weight, head.bias
        return made

    def forward(self, features: Tensor) -> Tensor:
        """(N, F) -> (N, C)."""
        logits = super().forward(features)
        return self.alpha.to(logits.dtype) * logits + self.beta.to(logits.dtype)
