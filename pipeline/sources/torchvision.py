"""Data sets that torchvision knows, by name: train, val and test as they come.

They lie in `data.root` as torchvision puts them, and are downloaded into it if they do not.
torchvision unpickles CIFAR's files, after it has compared their MD5 with the published one.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pipeline.core.block import Fault
from pipeline.core.errors import UserError
from pipeline.sources.images import Images, Wanted
from pipeline.sources.listing import HELD, File, Listing
from pipeline.sources.stack import stack

if TYPE_CHECKING:
    from torchvision.datasets import VisionDataset

    from pipeline.sources.options import Data

Parts = tuple[tuple[str, dict[str, Any]], ...]  # a split of ours, what torchvision is asked for it
TRAIN: Parts = (("train", {"train": True}), ("test", {"train": False}))
SPLIT: Parts = (("train", {"split": "train"}), ("test", {"split": "test"}))
SPLITS: Parts = tuple((name, {"split": name}) for name in ("train", "val", "test"))
STL: Parts = (*SPLIT, ("train", {"split": "unlabeled"}))
DIGITS = tuple("0123456789")
MNIST = "{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz"
PATIENCE = 30  # seconds without a byte from the network
SHOWN = 200  # characters of what torchvision says


@dataclass(frozen=True)
class DataSet:
    """A data set of torchvision.

    Attributes:
        name: of its class in `torchvision.datasets`.
        parts: what it is made of.
        files: that its publisher offers, by the names that torchvision looks for.
        below: where these lie, from the root on.
        classes: where torchvision has no names, or odd ones.
    """

    name: str
    parts: Parts
    files: str
    below: str = "."
    classes: tuple[str, ...] = ()

    @property
    def brings(self) -> frozenset[str]:
        """Which of `val` and `test` it has."""
        return frozenset(given for given, _ in self.parts) & frozenset(HELD)

    def open(self, root: Path, **arguments: Any) -> VisionDataset:
        """A part, downloaded if it is not there.

        Raises:
            UserError: it cannot be, or what is there cannot be read.
        """
        from torchvision import datasets  # takes seconds that other sources need not wait

        make = getattr(datasets, self.name)
        try:
            with _patience():
                try:
                    return make(root, **arguments)
                except RuntimeError:  # not there, or not whole
                    return make(root, **arguments, download=True)
        except Exception as error:  # files and networks fail in any way
            said = " ".join(str(error).split())[:SHOWN] or type(error).__name__
            what = f"torchvision has no {self.name} there and cannot get it ({said})"
            fix = f"put {self.files} into {root / self.below} by hand, or run with a network"
            raise UserError(str(root), what, fix) from None

    def names(self, dataset: VisionDataset) -> list[str]:
        """Of the classes, in the order of the labels."""
        return list(self.classes or dataset.classes)


@dataclass(frozen=True)
class InMemory(DataSet):
    """One whose images torchvision has in an array of one size.

    Attributes:
        labels: the name of its labels.
    """

    labels: str = "targets"
    KEYS: ClassVar[set[str]] = {"size"}

    def read(self, data: Data, wanted: Wanted) -> Images:
        """Every image, of whatever class; one part at a time is in memory.

        Raises:
            UserError: it cannot be had; no such class.
        """
        classes, labels, given, path = [], [], [], []

        def parts() -> Iterator[np.ndarray]:
            for split, arguments in self.parts:
                dataset = self.open(Path(data.root), **arguments)
                classes[:] = classes or self.names(dataset)
                wanted.check(classes)
                labels.append(np.asarray(getattr(dataset, self.labels), dtype=np.int64))
                num = len(labels[-1])
                given.extend([split] * num)
                path.extend(f"{arguments.get('split', split)}[{row}]" for row in range(num))
                yield np.asarray(dataset.data)

        made = stack(parts(), data.size)
        return Images(
            image=made.image,
            row=np.arange(len(given)),
            label=np.concatenate(labels),
            classes=classes,
            path=path,
            sha256=made.sha256,
            given=np.array(given),
            brings=self.brings,
        )


@dataclass(frozen=True)
class InFiles(DataSet):
    """One of image files, of several sizes."""

    KEYS: ClassVar[set[str]] = {"size", "on_bad_image"}

    def faults(self, data: Data) -> Iterator[Fault]:
        """No size to store the images at."""
        if not data.size:
            what = f"the images of '{data.source}' are of several sizes"
            yield Fault("size", what, "set it to the side to store them at, say 64")

    def read(self, data: Data, wanted: Wanted) -> Images:
        """Every image of the classes that are wanted.

        Raises:
            UserError: it cannot be had; no such class; see `Listing.read`.
        """
        root, files, classes = Path(data.root), [], []
        for split, arguments in self.parts:
            dataset = self.open(root, loader=str, **arguments)  # a path stays a path
            classes = classes or self.names(dataset)
            wanted.check(classes)
            for path, label in (dataset[row] for row in range(len(dataset))):
                if classes[label] in wanted.classes:
                    files.append(File(os.path.relpath(path, root), classes[label], split))
        return Listing(root, files, classes, self.brings).read(data)


SOURCES = {
    "torchvision/cifar10": InMemory("CIFAR10", TRAIN, "cifar-10-python.tar.gz"),
    "torchvision/cifar100": InMemory("CIFAR100", TRAIN, "cifar-100-python.tar.gz"),
    "torchvision/svhn": InMemory(
        "SVHN", SPLIT, "{train,test}_32x32.mat", classes=DIGITS, labels="labels"
    ),
    "torchvision/stl10": InMemory("STL10", STL, "stl10_binary.tar.gz", labels="labels"),
    "torchvision/mnist": InMemory("MNIST", TRAIN, MNIST, "MNIST/raw", DIGITS),
    "torchvision/fashion_mnist": InMemory("FashionMNIST", TRAIN, MNIST, "FashionMNIST/raw"),
    "torchvision/kmnist": InMemory("KMNIST", TRAIN, MNIST, "KMNIST/raw"),
    "torchvision/flowers102": InFiles(
        "Flowers102", SPLITS, "102flowers.tgz, imagelabels.mat and setid.mat", "flowers-102"
    ),
    "torchvision/food101": InFiles("Food101", SPLIT, "food-101.tar.gz"),
    "torchvision/dtd": InFiles("DTD", SPLITS, "dtd-r1.0.1.tar.gz", "dtd"),
    "torchvision/eurosat": InFiles("EuroSAT", (("", {}),), "EuroSAT.zip", "eurosat"),
    "torchvision/fgvc_aircraft": InFiles("FGVCAircraft", SPLITS, "fgvc-aircraft-2013b.tar.gz"),
}


@contextmanager
def _patience() -> Iterator[None]:
    """Within, a network that says nothing is an error after a while."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
