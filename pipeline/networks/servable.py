"""A model for those who serve it: uint8 images in, calibrated probabilities out."""

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.data.tasks import is_task_known
from pipeline.networks import temperature
from pipeline.networks.classifier import Classifier


class Servable(nn.Module):
    """uint8 (N, C, H, W) -> probabilities float32 (N, K), softmax(logits / temperature).

    They sum to 1 over all classes; of a model that is to be told the task of each image (scenario
    `task`) over the classes of each task, so that whoever serves it takes the task's columns.

    Args:
        network: put into eval mode.
        card: of the model, with its temperature and its heads.
    """

    def __init__(self, network: Classifier, card: dict):
        super().__init__()
        self.network = network.eval()
        self.temperature = temperature.of(card)
        sizes = [len(head["classes"]) for head in card["heads"]]
        self.blocks = sizes if is_task_known(card) else [sum(sizes)]

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K)."""
        blocks = self.network(images).logits.split(self.blocks, 1)
        return torch.cat([temperature.probabilities(b, self.temperature) for b in blocks], 1)


def example(card: dict) -> np.ndarray:
    """Four blank images of the model's shape: with fewer than two, an exporter would take the
    batch size for a constant."""
    return np.zeros((4, *card["image_shape"]), dtype=np.uint8)
