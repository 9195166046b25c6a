"""The one evaluator: what a model says of images, and how right it is."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.networks.classifier import Classifier

# Images at a time: on a CPU as many as stay in its caches, on a GPU as many as fill it; of large
# images so many fewer that memory does not grow with them.
BATCH_SIZE = {"cpu": 512, "cuda": 8192}
SMALL = 32**2  # pixels


@torch.inference_mode()
def infer(
    network: Classifier,
    images: np.ndarray | Tensor,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
    batch_size: int = 0,
) -> Tensor:
    """Logits of images, without noise: eval mode, no augmentation, no dropout.

    Args:
        network: left in the mode it came in.
        images: uint8 (N, C, H, W), on any device.
        batch_size: images at a time; 0 = what suits the device and the images.

    Returns:
        float32 logits (N, K), of a segmenter (N, K, H, W), on the CPU.
    """
    device = next(network.parameters()).device
    height, width = images[:1].shape[2:]
    batch_size = batch_size or at_a_time(max(network.image_size**2, height * width), device)
    was_training = network.training
    network.eval()
    logits = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        batch = torch.from_numpy(np.array(batch)) if isinstance(batch, np.ndarray) else batch
        with autocast():
            logits.append(network(batch.to(device)).logits.float().cpu())
    network.train(was_training)
    return torch.cat(logits) if logits else torch.empty(0, network.num_classes)


def at_a_time(pixels: int, device: torch.device) -> int:
    """Images of so many pixels that a network on a device takes best at once."""
    return max(1, BATCH_SIZE.get(device.type, 512) * SMALL // max(pixels, SMALL))


def task_known(logits: Tensor, columns: list[slice]) -> Tensor:
    """Logits (N, K) with all but each image's own block of columns at minus infinity: what a model
    answers when the task of each image is known."""
    masked = torch.full_like(logits, float("-inf"))
    for row, block in enumerate(columns):
        masked[row, block] = logits[row, block]
    return masked


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of images, or pixels, whose largest logit is the label's, 0..1; `nan` without any."""
    return float((logits.argmax(1) == labels).double().mean())


def mean_iou(logits: Tensor, labels: Tensor) -> float:
    """Mean intersection over union (Everingham et al. 2010, doi:10.1007/s11263-009-0275-4), 0..1:
    of each class the pixels of all images that are it and are answered with it, over those that are
    the one or the other; the mean over classes that occur in either.

    Args:
        logits: (N, K, H, W).
        labels: int64 (N, H, W).
    """
    return float(np.nanmean(class_iou(confusion(logits, labels, logits.shape[1]))))


def class_iou(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, 0..1, from confusion counts (..., K, K): (..., K);
    `nan` where a class is neither there nor answered."""
    hit = np.diagonal(counts, axis1=-2, axis2=-1)
    union = counts.sum(-1) + counts.sum(-2) - hit
    return np.divide(hit, union, out=np.full(hit.shape, np.nan), where=union > 0)


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float:
    """Mean of -log p(label), in nats."""
    return float(F.cross_entropy(logits.double(), labels))


def confusion(logits: Tensor, labels: Tensor, num_classes: int) -> np.ndarray:
    """Counts (K, K) of images or pixels: rows are true classes, columns the predicted ones."""
    flat = (labels * num_classes + logits.argmax(1)).flatten()
    return torch.bincount(flat, minlength=num_classes**2).reshape(num_classes, -1).numpy()
