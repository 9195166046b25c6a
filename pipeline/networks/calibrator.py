"""A small network behind a classifier's heads that corrects its answers."""

from torch import Tensor, nn


class Calibrator(nn.Module):
    """Corrects class distributions: log q + MLP(log q), the two-layer network that is the teacher
    in Reduced Meta Pseudo Labels (Pham et al. 2021, arXiv:2003.10580).

    The last layer begins at zero, so that at first every distribution stays what it is.

    Args:
        num_classes: K.
        width: hidden units.
    """

    def __init__(self, num_classes: int, width: int):
        super().__init__()
        last = nn.Linear(width, num_classes)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Linear(num_classes, width), nn.ReLU(), last)

    def forward(self, logits: Tensor) -> Tensor:
        """Logits (N, K) of any distributions q -> logits (N, K) of the corrected ones."""
        log_probs = logits.log_softmax(1)
        return log_probs + self.layers(log_probs)
