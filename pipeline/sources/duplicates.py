"""Images that show the same picture, though not with the same pixels: pairs to warn of.

A short description of each image finds its lookalikes (`lookalikes`). Of each such pair one image
is laid over the other, and then their fine detail must agree (`alignment`): the less detail a
picture has, the better.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

SMALLEST = 16  # pixels of the shorter side; in less there is too little detail to tell
PIECE = 1 << 21  # bytes of images in memory at a time


class Pairs(NamedTuple):
    """Pairs of images, in the order of their places.

    Attributes:
        pair: places i < j among the images that were asked about, int64 (P, 2).
        similarity: how well their fine detail agrees, 0.7..1, 1 = the same pixels, float32 (P,).
    """

    pair: np.ndarray
    similarity: np.ndarray


def near_duplicates(image: np.ndarray, row: np.ndarray, of: np.ndarray) -> Pairs:
    """Pairs of one picture: saved anew, resized, brighter or darker, mirrored, a little cropped.

    Of images under 16 pixels, and of those without texture, only copies with equal pixels are
    found. Of such copies one stands for all: each of the others is paired with it alone. An image
    of interest is compared with its 10 nearest lookalikes and with the 10 of its mirror image.

    Args:
        image: uint8 (M, C, H, W), perhaps memory-mapped; each image is read once.
        row: which of them, int64 (N,).
        of: which of these are of interest, bool (N,); a pair has at least one that is.
    """
    first = _first_copies(image, row, of)
    alone = first == np.arange(len(row))
    copies = np.flatnonzero(~alone & of[first])
    pair = np.sort(np.stack([first[copies], copies], axis=1), axis=1)
    similarity = np.ones(len(copies), dtype=np.float32)
    kept = np.flatnonzero(alone)
    if min(image.shape[2:]) >= SMALLEST and of[kept].any() and len(kept) > 1:
        found, how = _similar(image, row[kept], of[kept])
        pair, similarity = np.concatenate([pair, kept[found]]), np.concatenate([similarity, how])
    order = np.lexsort(pair.T[::-1])
    return Pairs(pair[order], similarity[order])


def _first_copies(image: np.ndarray, row: np.ndarray, of: np.ndarray) -> np.ndarray:
    """For each image the one that stands for all with its pixels, of interest if any is, (N,)."""
    digests = [hashlib.sha256(one).digest() for piece in pieces(image, row) for one in piece]
    standing: dict[bytes, int] = {}
    for place in np.argsort(~of, kind="stable").tolist():
        standing.setdefault(digests[place], place)
    return np.array([standing[digest] for digest in digests], dtype=np.int64)


def pieces(image: np.ndarray, row: np.ndarray) -> Iterator[np.ndarray]:
    """`image[row]`, some at a time."""
    num = max(1, PIECE // int(np.prod(image.shape[1:])))
    for start in range(0, len(row), num):
        yield np.ascontiguousarray(image[row[start : start + num]])


def _similar(image: np.ndarray, row: np.ndarray, of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of images without exact copies, and their similarity."""
    import torch  # prepare starts without what follows

    from pipeline.sources.alignment import agreement
    from pipeline.sources.lookalikes import lookalikes, thumbnails

    with torch.inference_mode(), _one_thread():
        grey, descriptors = thumbnails(pieces(image, row))
        pair, mirrored = lookalikes(descriptors, torch.from_numpy(of))
        similarity = agreement(grey, pair, mirrored)
    return _best(pair[similarity > 0].numpy(), similarity[similarity > 0].numpy())


@contextmanager
def _one_thread() -> Iterator[None]:
    """Many small products follow each other: on a busy machine two threads, which wait for each
    other at every one, took 16 to 34 times as long as one."""
    import torch

    num = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num)


def _best(pair: np.ndarray, similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each pair once, with the highest of its similarities: as it is, and mirrored."""
    unique, place = np.unique(pair, axis=0, return_inverse=True)
    best = np.zeros(len(unique), dtype=np.float32)
    np.maximum.at(best, place.ravel(), similarity)
    return unique, best
