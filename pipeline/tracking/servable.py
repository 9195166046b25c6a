"""A model for those who serve it: uint8 images in, probabilities out, normalisation inside."""

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.networks.classifier import Classifier


class Servable(nn.Module):
    """uint8 (N, C, H, W) -> probabilities float32 (N, K), in eval mode."""

    def __init__(self, network: Classifier):
        super().__init__()
        self.network = network.eval()

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K)."""
        return torch.softmax(self.network(images).logits, dim=1)


def example(card: dict) -> np.ndarray:
    """Four blank images of the model's shape: with fewer than two, an exporter would take the
    batch size for a constant."""
    return np.zeros((4, *card["image_shape"]), dtype=np.uint8)
