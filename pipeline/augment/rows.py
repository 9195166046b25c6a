"""RandAugment by rows: images are sorted by kind, and each family works on its own slice alone.

The form for a CPU. Which rows a family touches is read off the drawn kinds, on the host.
"""

import numpy as np
import torch
from torch import Tensor

from pipeline.augment import pixels
from pipeline.augment.scale import NUM_BINS, OP, OPS, parameters
from pipeline.augment.warp import all_maps, blocks, gather, index_map

CHUNK = 2**17  # pixel values worked on at a time: as float32, and with a copy, they stay in cache
SMALL = 256  # pixels of a channel up to which one gather beats a few copies for each kind
STARTS = np.arange(len(OPS) + 1) * NUM_BINS  # first kind of each operation


def apply_kinds(images: Tensor, kinds: np.ndarray) -> Tensor:
    """Apply kinds (N, n) in order to uint8 images (N, C, H, W) on the CPU; a new tensor."""
    if not len(images):
        return images.clone()
    if images.shape[1] == 1:  # its own grey: blending would only round
        kinds = np.where(kinds // NUM_BINS == OP["Color"], 0, kinds)
    rows = np.arange(len(images))  # row of `images` that holds each image
    for kind in kinds.T:
        order = np.argsort(kind, kind="stable")
        images = images.index_select(0, torch.from_numpy(rows[order]))
        _apply_sorted(images, kind[order])
        rows = np.argsort(order)
    return images.index_select(0, torch.from_numpy(rows))


def _apply_sorted(images: Tensor, kind: np.ndarray) -> None:
    ends = np.searchsorted(kind, STARTS).tolist()
    _warp(images[ends[OP["ShearX"]] : ends[OP["Brightness"]]], kind[ends[OP["ShearX"]] :])
    step = max(1, CHUNK // images[:1].numel())
    for first_op, last_op, paint in PAINTS:
        end = ends[OP[last_op] + 1]
        for first in range(ends[OP[first_op]], end, step):
            part = slice(first, min(first + step, end))
            images[part] = paint(images[part], kind[part])


def _warp(images: Tensor, kind: np.ndarray) -> None:
    """Move images by the leading kinds, in place."""
    kind = kind[: len(images)]
    if images[:1, :1].numel() <= SMALL:
        _gather(images, kind)
        return
    kinds, starts = np.unique(kind, return_index=True)
    for one, rows in zip(kinds.tolist(), np.split(np.arange(len(kind)), starts[1:])):
        _move(images[rows[0] : rows[-1] + 1], one)


def _gather(images: Tensor, kind: np.ndarray) -> None:
    maps = all_maps(*images.shape[2:]).index_select(0, torch.from_numpy(kind))
    images[:] = gather(images, maps[:, None])


def _move(images: Tensor, kind: int) -> None:
    rectangles = blocks(kind, *images.shape[2:])
    if rectangles is None:
        images[:] = gather(images, torch.from_numpy(index_map(kind, *images.shape[2:])))
        return
    before = images.numpy().copy()
    after = images.numpy()  # numpy starts a copy three times as quickly as torch
    after[...] = 0
    for target, source in rectangles:
        after[:, :, *target] = before[:, :, *source]


def _blend(images: Tensor, kind: np.ndarray) -> Tensor:
    """Brightness, Color and Contrast: against black, the image's grey, or that grey's mean."""
    values = images.float()
    color, contrast = np.searchsorted(kind, STARTS[[OP["Color"], OP["Contrast"]]]).tolist()
    other = values.new_zeros(len(images), 1, *images.shape[2:])
    if color < len(images):
        other[color:] = pixels.grey(values[color:])
        other[contrast:] = other[contrast:].mean((1, 2, 3), keepdim=True)
    return pixels.blend(values, other, _parameter("weight", kind), _parameter("rest", kind))


def _parameter(name: str, kind: np.ndarray) -> Tensor:
    return torch.from_numpy(parameters()[name][kind]).view(-1, 1, 1, 1)


def _sharpness(images: Tensor, kind: np.ndarray) -> Tensor:
    return pixels.sharpen(images.float(), _parameter("rest", kind))


def _posterize(images: Tensor, kind: np.ndarray) -> Tensor:
    return pixels.posterize(images, _parameter("mask", kind))


def _solarize(images: Tensor, kind: np.ndarray) -> Tensor:
    return pixels.solarize(images, _parameter("threshold", kind))


def _autocontrast(images: Tensor, kind: np.ndarray) -> Tensor:
    return pixels.autocontrast(images)


def _equalize(images: Tensor, kind: np.ndarray) -> Tensor:
    return pixels.equalize(images)


PAINTS = (
    ("Brightness", "Contrast", _blend),
    ("Sharpness", "Sharpness", _sharpness),
    ("Posterize", "Posterize", _posterize),
    ("Solarize", "Solarize", _solarize),
    ("AutoContrast", "AutoContrast", _autocontrast),
    ("Equalize", "Equalize", _equalize),
)
