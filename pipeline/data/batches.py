"""Batches as a pure function of the step: which images, in which view, with which targets."""

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from pipeline.core import randomness
from pipeline.data.packing import Packing

Arrays = dict[str, np.ndarray | Tensor]
Drawn = tuple[Arrays, Arrays]  # of a stream: what `Stream.read` says, what its view drew


class View(Protocol):
    """A random view of images: drawn on the host by position, applied on the device."""

    def draw(self, rng: np.random.Generator, num: int) -> dict[str, np.ndarray]:
        """Parameters for `num` images; row i does not depend on `num`."""

    def __call__(self, images: Tensor, drawn: Arrays) -> Tensor:
        """uint8 (N, C, H, W) -> uint8 (N, C, H, W), on the images' device; on another device than a
        CPU the parameters are there too, as tensors."""

    def masks(self, masks: Tensor, drawn: Arrays) -> Tensor:
        """What is known of each pixel, (N, K, H, W), moved as the images are; 0 where a pixel comes
        from outside."""


@dataclass(frozen=True)
class Stream:
    """A set of M samples to draw from.

    Attributes:
        images: uint8 (L, C, H, W): a tensor on the device, or a memory map to read from.
        targets: class probabilities, on the device: of images (M, K), or of pixels (M, K, H, W),
            which the view moves with them; None if there are none.
        num: samples per step; may exceed M.
        view: the random view to take.
        weights: weight of each sample (M,), on the device; None = all 1.
        soft: whether the targets are a model's probabilities, which say already how sure it is, and
            not single classes, which label smoothing is for.
        columns: the logits that the cross-entropy ranges over, which the targets speak of.
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
    columns: slice = field(default_factory=lambda: slice(None))

    def __len__(self) -> int:
        return len(self.images if self.index is None else self.index)

    @property
    def place(self) -> torch.device:
        """Where its batches are."""
        return self.images.device if isinstance(self.images, Tensor) else self.device

    def samples(self, start: int, stop: int) -> Tensor:
        """Samples in their order, as they lie there: uint8 (n, C, H, W), on the device."""
        rows = np.arange(start, min(stop, len(self)))
        return self.gather(self.read(rows)).to(self.place)

    def read(self, samples: np.ndarray) -> dict[str, np.ndarray]:
        """What the host says of samples (n,): their `image`, bytes (n, C, H, W), or where it is on
        the device: `row` (n,).

        A memory map is read in sorted order, which is the order of the disk.
        """
        rows = samples if self.index is None else self.index[samples]
        if isinstance(self.images, Tensor):
            return {"row": rows}
        order = np.argsort(rows, kind="stable")
        batch = np.empty((len(rows), *self.images.shape[1:]), dtype=np.uint8)
        batch[order] = self.images[rows[order]]
        return {"image": batch}

    def gather(self, said: Arrays) -> Tensor:
        """The images of which `read` said that, on the device: uint8 (n, C, H, W)."""
        if "image" in said:
            return torch.as_tensor(said["image"])
        return self.images[torch.as_tensor(said["row"])]


class Part(NamedTuple):
    """One stream's share of a batch."""

    images: Tensor  # uint8 (n, C, H, W); floats in 0..1 if a method made them
    targets: Tensor | None  # (n, K) or (n, K, H, W)
    weights: Tensor | None  # (n,)
    rows: Tensor  # int64 (n,): which samples of the stream
    soft: bool = False  # whether the targets are probabilities, see `Stream`
    columns: slice = slice(None)  # the logits that they speak of


def in_one_type(batch: dict[str, Part]) -> dict[str, Part]:
    """The parts with all images as floats in 0..1 if some are: in one tensor with them, bytes would
    be floats in 0..255."""
    if len({part.images.dtype for part in batch.values()}) == 1:
        return batch
    return {name: part._replace(images=in_floats(part.images)) for name, part in batch.items()}


def in_floats(images: Tensor) -> Tensor:
    """Bytes 0..255 as floats in 0..1; floats as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


class Batches:
    """`batches(step)` gives the parts of a step, by the streams' names.

    Each stream is gone through in a fresh random order every epoch, over the end of one epoch into
    the next without a short batch; an image that comes twice in a batch gets two views, because
    views are drawn by position.

    A batch is `unpack(pack(step))`: what the host draws for all streams, in one buffer, goes to the
    device in one copy that nobody waits for, and the rest is done there. On a CPU the arrays are
    used as they are.

    Args:
        streams: by name, all of one device.
    """

    def __init__(self, streams: dict[str, Stream], *, seed: int, model: str):
        self.streams = streams
        self.device = next(iter(streams.values())).place
        self._key = (seed, model)
        self._epoch = lru_cache(maxsize=8)(self._shuffled)

    def __call__(self, step: int) -> dict[str, Part]:
        """The batch of `step` (0, 1, ...): the same whenever and however often it is asked for."""
        if self.device.type == "cpu":
            return self._parts(self._drawn(step))
        # only what is pinned may be copied while it is let go of
        pinned = self.device.type == "cuda"
        return self.unpack(self.pack(step).to(self.device, non_blocking=pinned))

    @cached_property
    def _packing(self) -> Packing:
        return Packing(_flat(self._drawn(0)))

    def pack(self, step: int) -> Tensor:
        """All that the host says of a step: uint8 (B,) on the CPU, as many bytes at every step;
        pinned for a GPU."""
        drawn = _flat(self._drawn(step))
        return self._packing.pack(drawn, pinned=self.device.type == "cuda")

    def unpack(self, buffer: Tensor) -> dict[str, Part]:
        """The batch that a buffer on the device speaks of; nothing is read back."""
        flat = self._packing.unpack(buffer)
        return self._parts(
            {name: (_below(flat, name), _below(flat, f"{name}/view")) for name in self.streams}
        )

    def rows(self, step: int) -> dict[str, list[int]]:
        """Where each stream's images of a step stand in the array that they are read from."""
        found = {}
        for name, stream in self.streams.items():
            samples = self._rows(name, step)
            found[name] = (samples if stream.index is None else stream.index[samples]).tolist()
        return found

    def _drawn(self, step: int) -> dict[str, Drawn]:
        drawn, (seed, model) = {}, self._key
        for name, stream in self.streams.items():
            samples = self._rows(name, step)
            rng = randomness.generator(seed, model, "view", name, step)
            said = {"sample": samples, **stream.read(samples)}
            drawn[name] = said, stream.view.draw(rng, stream.num)
        return drawn

    def _parts(self, drawn: dict[str, Drawn]) -> dict[str, Part]:
        return {name: self._part(self.streams[name], *drawn[name]) for name in self.streams}

    def _part(self, stream: Stream, said: Arrays, view: Arrays) -> Part:
        rows = torch.as_tensor(said["sample"])
        targets = None if stream.targets is None else stream.targets[rows]
        if targets is not None and targets.ndim == 4:
            targets = stream.view.masks(targets, view)
        return Part(
            images=stream.view(stream.gather(said), view),
            targets=targets,
            weights=None if stream.weights is None else stream.weights[rows],
            rows=rows,
            soft=stream.soft,
            columns=stream.columns,
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


def _flat(drawn: dict[str, Drawn]) -> Arrays:
    """By `<stream>/<what>`, and `<stream>/view/<what>`."""
    flat = {}
    for name, (said, view) in drawn.items():
        flat |= {f"{name}/{key}": value for key, value in said.items()}
        flat |= {f"{name}/view/{key}": value for key, value in view.items()}
    return flat


def _below(flat: Arrays, prefix: str) -> Arrays:
    start = f"{prefix}/"
    return {k.removeprefix(start): v for k, v in flat.items() if k.startswith(start)}
