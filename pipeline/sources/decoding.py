"""Many image files decoded: those not known from before, into a file that is kept.

Every file has its row before it is decoded, so that the bytes do not depend on how many processes
there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.core import files
from pipeline.running.progress import progress
from pipeline.sources import decoded_cache, decoder, workers
from pipeline.sources.decoded_cache import NO_ROW, DecodedCache, Entry
from pipeline.sources.decoder import CHANNELS, Result, Target
from pipeline.sources.stamps import Stamp, Stamps
from pipeline.sources.workers import Job

JOB, JOB_BYTES = 64, 16 * 2**20  # at most so many files, and bytes of files, at a time


class Decoded(NamedTuple):
    """What came of N files.

    Attributes:
        image: uint8 (M, 3, H, W), memory-mapped; in any order, perhaps others too.
        row: where each file's image stands in `image`, int64 (N,); -1 for a file that cannot be
            read, or whose image is of another size than H x W.
        sha256: their identities, (N,); "" for a file that cannot be read.
        sizes: all heights and widths met.
        faults: what is wrong with files that cannot be read, by their place among the N.
        converted: how many files were made RGB of eight bits, upright, and from what: see
            `pixel_modes`.
        own_sizes: how many files are images of which width and height, the most frequent first.
    """

    image: np.ndarray
    row: np.ndarray
    sha256: list[str]
    sizes: set[tuple[int, int]]
    faults: dict[int, str]
    converted: dict[str, int]
    own_sizes: dict[tuple[int, int], int]


def decode_all(root: Path, paths: Sequence[str], size: int) -> Decoded:
    """Decode files, but for those that were decoded before and have not changed since.

    One process at a time decodes the files of a folder; others wait for it.

    Args:
        root: a folder; nothing outside of it is read.
        paths: of the files, from the root on; each may come more than once.
        size: see `decoder.decode`. With 0 the first file that is an image says what size H x W is.

    Raises:
        UserError: the disk is full, the project's folder cannot be written to, or a process was
            ended. What was decoded until then is kept.
    """
    root = root.absolute()
    stamps, faults = _looked_at(Stamps(root), paths)
    height, width = _size_of_first(root, stamps, size)
    num_bytes = len(stamps) * len(CHANNELS) * height * width
    kept = decoded_cache.opened(root, size, height, width)
    with files.disk_errors(decoded_cache.folder(root, size) / "images", num_bytes), kept as cache:
        faults |= _fill(cache, root, stamps, size)
        cache.drop_stale(stamps.keys() - faults.keys(), Stamps(root).of)
        entries = {path: cache[path] for path in stamps if path not in faults}
        return _decoded(paths, entries, faults, cache.image())


def _looked_at(stamps: Stamps, paths: Sequence[str]) -> tuple[dict[str, Stamp], dict[str, str]]:
    """Stamps of the files that are to be opened, and what is wrong with the others."""
    found = {path: stamps.of(path) for path in dict.fromkeys(paths)}
    faults = {path: what for path, what in found.items() if isinstance(what, str)}
    return {path: found[path] for path in found if path not in faults}, faults


def _size_of_first(root: Path, paths: Iterable[str], size: int) -> tuple[int, int]:
    """Height and width to keep images at: those of the first file that is one, or `size`."""
    for path in () if size else paths:
        with suppress(Exception):
            first = decoder.decode(str(root / path), 0)
            return first.height, first.width
    return size, size


def _fill(cache: DecodedCache, root: Path, stamps: dict[str, Stamp], size: int) -> dict[str, str]:
    """Decode what the cache does not have.

    Returns:
        what is wrong with files, where it is not for the cache to keep: a disk may read them again.
    """
    passing = {}
    with progress(len(stamps), 0, "images", "image") as bar:
        new = dict(stamps)
        for path in cache.checked(stamps):
            del new[path]
            bar.update()
        paths, first = list(new), cache.num_rows
        target = Target(cache.fileno(), size, *cache.shape[1:])
        with closing(workers.results(_jobs(root, new, first), target)) as answers:
            for job, results in answers:
                done = dict(zip(paths[job.first - first :], results))
                cache.add(list(_entries(done, job.first, stamps, cache.shape)))
                passing |= {path: result.fault for path, result in done.items() if not result.lasts}
                bar.update(len(done))
    return passing


def _jobs(root: Path, stamps: dict[str, Stamp], first: int) -> list[Job]:
    """For the rows from `first` on: photos of many bytes are few a job."""
    jobs, num_bytes = [], 0
    for row, (path, stamp) in enumerate(stamps.items(), first):
        if not jobs or len(jobs[-1].paths) == JOB or num_bytes + stamp.num_bytes > JOB_BYTES:
            jobs.append(Job(row, []))
            num_bytes = 0
        jobs[-1].paths.append(f"{root}/{path}")
        num_bytes += stamp.num_bytes
    return jobs


def _entries(
    done: dict[str, Result], first: int, stamps: dict[str, Stamp], shape: tuple[int, int, int]
) -> Iterator[Entry]:
    """Of the files of a job whose results last."""
    for row, (path, result) in enumerate(done.items(), first):
        if result.lasts:
            sha256, height, width, kinds, fault, _, own = result
            row = row if (height, width) == shape[1:] and not fault else NO_ROW
            what = (row, sha256, height, width, list(kinds), list(own), fault)
            yield Entry(path, *stamps[path], *what)


def _decoded(
    paths: Sequence[str], entries: dict[str, Entry], faults: dict[str, str], image: np.ndarray
) -> Decoded:
    faults = faults | {entry.path: entry.fault for entry in entries.values() if entry.fault}
    good = [None if path in faults else entries[path] for path in paths]
    return Decoded(
        image=image,
        row=np.array([entry.row if entry else NO_ROW for entry in good], dtype=np.int64),
        sha256=[entry.sha256 if entry else "" for entry in good],
        sizes={(entry.height, entry.width) for entry in good if entry},
        faults={place: faults[path] for place, path in enumerate(paths) if path in faults},
        converted=dict(sorted(Counter(k for e in good if e for k in e.kinds).items())),
        own_sizes=dict(Counter(tuple(e.own) for e in good if e).most_common()),
    )
