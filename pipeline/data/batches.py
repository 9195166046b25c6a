"""Batches as a pure function of the step: which images, in which view, with which targets."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from pipeline.core import randomness


class View(Protocol):
    """A random view of images: drawn on the host by position, applied on the device."""

    def draw(self, rng: np.random.Generator, num: int) -> dict[str, np.ndarray]:
        """Parameters for `num` images; row i does not depend on `num`."""

    def __call__(self, images: Tensor, drawn: dict[str, np.ndarray]) -> Tensor:
        """uint8 (N, C, H, W) -> uint8 (N, C, H, W)."""


@dataclass(frozen=True)
class Stream:
    """A set of M samples to draw from.

    Attributes:
        images: uint8 (L, C, H, W): a tensor on the device, or a memory map to read from.
        targets: class probabilities (M, K), on the device; None if there are none.
        num: samples per step; may exceed M.
        view: the random view to take.
        weights: weight of each sample (M,), on the device; None = all 1.
        soft: whether the targets are a model's probabilities, which say already how sure it is, and
            not single classes, which label smoothing is for.
        index: the image of each sample, int64 (M,), repeats allowed; None = image i for sample i.
        device: where batches go, if the images are not there already.
        order: the name of the stream whose random order this one shares, for a second view of the
            same images; "" = an order of its own.
    """

    images: Tensor | np.ndarray
    targets: Tensor | None
    num: int
    view: View
    weights: Tensor | None = None
    index: np.ndarray | None = None
    device: torch.device = torch.device("cpu")
    order: str = ""
    soft: bool = False

    def __len__(self) -> int:
        return len(self.images if self.index is None else self.index)

    def gather(self, samples: np.ndarray) -> Tensor:
        """The images of `samples` (n,), on the device: uint8 (n, C, H, W).

        A memory map is read in sorted order, which is the order of the disk.
        """
        rows = samples if self.index is None else self.index[samples]
        if isinstance(self.images, Tensor):
            return self.images[torch.from_numpy(rows).to(self.images.device)]
        order = np.argsort(rows, kind="stable")
        batch = np.empty((len(rows), *self.images.shape[1:]), dtype=np.uint8)
        batch[order] = self.images[rows[order]]
        return torch.from_numpy(batch).to(self.device)


class Part(NamedTuple):
    """One stream's share of a batch."""

    images: Tensor  # uint8 (n, C, H, W); floats in 0..1 if a method made them
    targets: Tensor | None  # (n, K)
    weights: Tensor | None  # (n,)
    rows: Tensor  # int64 (n,): which samples of the stream
    soft: bool = False  # whether the targets are probabilities, see `Stream`


def in_one_type(batch: dict[str, Part]) -> dict[str, Part]:
    """The parts with all images as floats in 0..1 if some are: in one tensor with them, bytes would
    be floats in 0..255."""
    if len({part.images.dtype for part in batch.values()}) == 1:
        return batch
    return {name: part._replace(images=_in_floats(part.images)) for name, part in batch.items()}


def _in_floats(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images


class Batches:
    """`batches(step)` gives the parts of a step, by the streams' names.

    Each stream is gone through in a fresh random order every epoch, over the end of one epoch into
    the next without a short batch; an image that comes twice in a batch gets two views, because
    views are drawn by position.
    """

    def __init__(self, streams: dict[str, Stream], *, seed: int, model: str):
        self.streams = streams
        self._key = (seed, model)
        self._epoch = lru_cache(maxsize=8)(self._shuffled)

    def __call__(self, step: int) -> dict[str, Part]:
        """The batch of `step` (0, 1, ...): the same whenever and however often it is asked for."""
        return {name: self._part(name, step) for name in self.streams}

    def _part(self, name: str, step: int) -> Part:
        stream, (seed, model) = self.streams[name], self._key
        samples = self._rows(name, step)
        drawn = stream.view.draw(randomness.generator(seed, model, "view", name, step), stream.num)
        images = stream.view(stream.gather(samples), drawn)
        rows = torch.from_numpy(samples).to(images.device)
        return Part(
            images=images,
            targets=None if stream.targets is None else stream.targets[rows],
            weights=None if stream.weights is None else stream.weights[rows],
            rows=rows,
            soft=stream.soft,
        )

    def _rows(self, name: str, step: int) -> np.ndarray:
        size, num = len(self.streams[name]), self.streams[name].num
        places = np.arange(step * num, (step + 1) * num)
        rows = [
            self._epoch(name, int(epoch))[places[places // size == epoch] % size]
            for epoch in np.unique(places // size)
        ]
        return np.concatenate(rows)

    def _shuffled(self, name: str, epoch: int) -> np.ndarray:
        seed, model = self._key
        order = self.streams[name].order or name
        rng = randomness.generator(seed, model, "order", order, epoch)
        return rng.permutation(len(self.streams[name]))
