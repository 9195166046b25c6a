"""Data distillation (Radosavovic et al. 2018, arXiv:1712.04440): one teacher answers an image under
several fixed transforms, and the mean of its probabilities is what it says.

The paper merges the predictions into one hard label; here the mean goes through the same rule as
a plain answer (`labels`).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.core.errors import UserError
from pipeline.networks import evaluate
from pipeline.networks.classifier import Classifier

SHIFT = 1 / 16  # of the side
ZOOM = 1.125
DEGREES = 7.0


def _move(images: Tensor, *, columns: int = 0, rows: int = 0) -> Tensor:
    height, width = images.shape[2:]
    by = [round(columns * width * SHIFT) or columns, round(rows * height * SHIFT) or rows]
    return _affine(images, translate=by)


def _affine(
    images: Tensor, *, angle: float = 0.0, translate: Sequence[int] = (0, 0), scale: float = 1.0
) -> Tensor:
    from torchvision.transforms.v2 import (
        functional as vision,  # a second that `check` need not wait
    )

    # over a mirrored border, so that no black edge comes in
    edge = max(1, min(images.shape[2:]) // 4)
    padded = vision.pad(images, [edge] * 4, padding_mode="reflect")
    bilinear = vision.InterpolationMode.BILINEAR
    moved = vision.affine(padded, angle, list(translate), scale, [0.0, 0.0], bilinear)
    return moved[:, :, edge:-edge, edge:-edge]


# uint8 (N, C, H, W) -> uint8 (N, C, H, W)
TRANSFORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda images: images,
    "flip": lambda images: images.flip(-1),
    "left": partial(_move, columns=-1),
    "right": partial(_move, columns=1),
    "up": partial(_move, rows=-1),
    "down": partial(_move, rows=1),
    "zoom_in": partial(_affine, scale=ZOOM),
    "zoom_out": partial(_affine, scale=1 / ZOOM),
    "turn_left": partial(_affine, angle=-DEGREES),
    "turn_right": partial(_affine, angle=DEGREES),
}

Transforms = list[Literal[tuple(TRANSFORMS)]]  # their names


class Answers(NamedTuple):
    """What a teacher says of N images, each the mean over some transforms.

    Attributes:
        probs: softmax of its logits z, float64 (N, K) or, of each pixel, (N, K, H, W), in 0..1.
        energy: -logsumexp(z), float64 (N,) or (N, H, W), in nats.
    """

    probs: np.ndarray
    energy: np.ndarray


def answers(
    network: Classifier, images: np.ndarray, names: Sequence[str], autocast: Callable
) -> Answers:
    """The teacher's answers under the transforms `names`, whose order does not matter, to the last
    bit.

    Args:
        images: uint8 (N, C, H, W), perhaps memory-mapped.

    Raises:
        UserError: they are not finite.
    """
    num, shape = len(images), [network.num_classes, *network.places(images.shape[2:])]
    total = Answers(np.zeros((num, *shape)), np.zeros((num, *shape[1:])))
    for start in range(0, len(images), CHUNK):
        rows = slice(start, start + CHUNK)
        for name in sorted(names):
            logits = evaluate.infer(network, _apply(name, images[rows]), autocast).double()
            total.probs[rows] += torch.softmax(logits, dim=1).numpy()
            total.energy[rows] -= torch.logsumexp(logits, dim=1).numpy()
    for sums in total:
        sums /= len(names)
    if not np.isfinite(total.energy).all():  # which any logit that is no number reaches
        raise UserError("the teacher", "gives logits that are not finite", "train it again")
    return total


CHUNK = 8192  # images transformed at a time


def _apply(name: str, images: np.ndarray) -> Tensor:
    return TRANSFORMS[name](torch.from_numpy(np.array(images)))
