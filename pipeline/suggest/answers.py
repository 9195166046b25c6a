"""What the generations of a chain say of the images without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.core import machine
from pipeline.core.errors import UserError
from pipeline.data.store import Dataset
from pipeline.networks import checkpoint, evaluate, temperature
from pipeline.networks.classifier import Classifier


@dataclass(frozen=True)
class Answers:
    """The answers of G models, oldest first, about N unlabelled images.

    Attributes:
        models: names (G,).
        classes: names of the K classes.
        probs: calibrated probabilities, float32 (G, N, K).
        features: of the last model, float32 (N, F).
        labelled: features of the labelled images, float32 (M, F).
    """

    models: list[str]
    classes: list[str]
    probs: np.ndarray
    features: np.ndarray
    labelled: np.ndarray


def read(chain: Sequence[str], dataset: Dataset) -> Answers:
    """Ask the models of a chain that know the data set's classes and no others.

    Nothing is read of what is known of the unlabelled images but their pixels.

    Args:
        chain: names, each model the parent of the next.

    Raises:
        UserError: models are missing or damaged, all in one pass; none knows these classes; there
            are no unlabelled images.
    """
    names = _those_that_know(chain, dataset)
    if not dataset.num("unlabelled"):
        what, fix = "there are no unlabelled images", "add images without labels, and prepare them"
        raise UserError(str(dataset.folder), what, fix)
    settings = machine.load()
    device = machine.device(settings)
    images, probs = dataset.array("unlabelled"), []
    for name in names:
        network, card = checkpoint.load(f"models/{name}", device)
        machine.set_threads(settings, network, checkpoint.pixels(card))
        logits = evaluate.infer(network, images, machine.full_precision)
        probs.append(temperature.probabilities(logits, temperature.of(card)).numpy())
    own, labelled = features(network, images), features(network, dataset.array("labelled"))
    return Answers(names, dataset.classes, np.stack(probs), own, labelled)


def _those_that_know(chain: Sequence[str], dataset: Dataset) -> list[str]:
    """The models of a chain with the data set's classes: one that was extended has others too."""
    cards, errors = {}, []
    for name in chain:
        try:
            cards[name] = checkpoint.read_card(f"models/{name}")
        except UserError as error:
            errors.append(error)
    if errors:
        raise UserError.all(errors)
    names = [n for n, card in cards.items() if checkpoint.classes(card) == dataset.classes]
    if not names:
        what = f"no model of {', '.join(chain)} has the classes {dataset.classes}"
        raise UserError(str(dataset.folder), what, "train them again (`dvc repro`)")
    return names


@torch.inference_mode()
def features(network: Classifier, images: np.ndarray) -> np.ndarray:
    """Features of uint8 images (N, C, H, W), without noise: float32 (N, F)."""
    device = next(network.parameters()).device
    height, width = images.shape[2:]
    size = evaluate.at_a_time(max(network.image_size**2, height * width), device)
    made = []
    for start in range(0, len(images), size):
        batch = torch.from_numpy(np.array(images[start : start + size])).to(device)
        with machine.full_precision():
            made.append(network.features(batch).float().cpu().numpy())
    return np.concatenate(made)
