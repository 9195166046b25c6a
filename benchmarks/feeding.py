"""Feeding flipped and shifted batches from one array: `python -m benchmarks.feeding`."""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks import photographs
from benchmarks.timing import machine, parser, ratios, spread, take_turns
from pipeline.augment import WeakView

BATCH = 128


class Pictures(Dataset):
    """The conventional way: a PIL image at a time, cropped, flipped, and made a tensor."""

    def __init__(self, images: Tensor):
        self.arrays = images.permute(0, 2, 3, 1).contiguous().numpy()
        size = images.shape[-1]
        crop = transforms.RandomCrop(size, padding=size // 8, padding_mode="reflect")
        flip = transforms.RandomHorizontalFlip()
        self.change = transforms.Compose([crop, flip, transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, index: int) -> Tensor:
        return self.change(Image.fromarray(self.arrays[index]))


def from_tensor(images: Tensor, view: WeakView, rng: np.random.Generator) -> Iterator[Tensor]:
    """Batches gathered from one uint8 tensor."""
    for rows in torch.from_numpy(rng.permutation(len(images))).split(BATCH):
        batch = images.index_select(0, rows)
        yield view(batch, view.draw(rng, len(batch))).float().div_(255)


def from_file(images: np.ndarray, view: WeakView, rng: np.random.Generator) -> Iterator[Tensor]:
    """Batches read from a memory map in sorted order, which is the order of the disk."""
    order = rng.permutation(len(images))
    for first in range(0, len(order), BATCH):
        batch = torch.from_numpy(images[np.sort(order[first : first + BATCH])])
        yield view(batch, view.draw(rng, len(batch))).float().div_(255)


def exhaust(batches) -> None:
    for _ in batches:
        pass


def main() -> None:
    asked = parser(__doc__, rounds=7)
    asked.add_argument("--num", type=int, default=4096)
    asked.add_argument("--size", type=int, default=32)
    options = asked.parse_args()
    torch.set_num_threads(options.threads)
    images = photographs.load(options.num, options.size, options.images)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "images.npy"), images.numpy())
        mapped = np.load(Path(folder, "images.npy"), mmap_mode="r")
        report(take_turns(arms(images, mapped), options.rounds), options)


def arms(images: Tensor, mapped: np.ndarray) -> dict:
    """An epoch each; workers are kept alive between epochs, and started before the clock."""
    pictures, view = Pictures(images), WeakView(shift=images.shape[-1] // 8)
    rng = np.random.default_rng(0)
    plain = DataLoader(pictures, BATCH, shuffle=True)
    workers = DataLoader(pictures, BATCH, shuffle=True, num_workers=2, persistent_workers=True)
    return {
        "DataLoader, PIL crop and flip": lambda: exhaust(plain),
        "the same, two workers": lambda: exhaust(workers),
        "ours, uint8 tensor": lambda: exhaust(from_tensor(images, view, rng)),
        "ours, memory map, sorted": lambda: exhaust(from_file(mapped, view, rng)),
    }


def report(seconds: dict[str, list[float]], options: argparse.Namespace) -> None:
    """Print images per second and ratios."""
    print(
        machine(), f"{options.num} images of {options.size}x{options.size}, batch {BATCH}", sep="; "
    )
    for name, ratio in ratios(seconds, "DataLoader, PIL crop and flip").items():
        rate = [options.num / one for one in seconds[name]]
        print(f"  {name:32} {spread(ratio):>22} x   {spread(rate, 1e3):>22} k images/s")


if __name__ == "__main__":
    main()
