"""Files in, calibrated probabilities out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.core import machine
from pipeline.core.errors import UserError
from pipeline.data.kinds import is_dense
from pipeline.predict import model, pixels
from pipeline.predict.model import Model
from pipeline.predict.unreadable import unreadable
from pipeline.sources import decoder


class Part(NamedTuple):
    """What came of some files.

    Attributes:
        paths: those that could be read.
        probabilities: float32 (len(paths), K).
        faults: what is wrong with the others, by path.
    """

    paths: list[str]
    probabilities: np.ndarray
    faults: dict[str, str]


class Predictor:
    """A model that answers for image files.

    Args:
        model: a folder of a model, e.g. `models/g2`, or a model.
        task: of the images, for a model that is to be told.

    Attributes:
        classes: in the order of the columns of probabilities.

    Raises:
        UserError: no such model, or a task that it does not know.
    """

    def __init__(self, model_or_folder: Model | Path | str, task: str = ""):
        given = model_or_folder
        self.model = given if isinstance(given, Model) else model.load(given)
        if is_dense(self.model.card):
            what = f"'{self.model.name}' answers each pixel, this is for answers to whole images"
            raise UserError("predict", what, "use the model as `python -m pipeline export` has it")
        self.classes, self._columns = self.model.block(task)

    def __call__(self, paths: Sequence[Path | str]) -> tuple[list[str], np.ndarray]:
        """The classes, and calibrated probabilities float32 (N, K), a row a file.

        Raises:
            UserError: files that cannot be read, all in one pass.
        """
        parts = list(self.stream([str(path) for path in paths]))
        faults = {path: what for part in parts for path, what in part.faults.items()}
        if faults:
            raise UserError.all(unreadable(faults))
        empty = np.empty((0, len(self.classes)), dtype=np.float32)
        return self.classes, np.concatenate([empty, *(part.probabilities for part in parts)])

    def stream(self, paths: Sequence[str]) -> Iterator[Part]:
        """The same a part at a time, in order: the next part is decoded while the model answers for
        one, and no more than these two are in memory."""
        settings, num = machine.load(), self.model.at_a_time
        some = [paths[start : start + num] for start in range(0, len(paths), num)]
        with warnings.catch_warnings(), _pool(settings.threads or machine.cores()) as pool:
            warnings.simplefilter("ignore")  # decoders do so too, and threads share the filters
            ahead: list[Future] = []
            for part, following in zip(some, [*some[1:], []]):
                ahead = ahead or [pool.submit(self._read, path) for path in part]
                waiting, ahead = ahead, [pool.submit(self._read, path) for path in following]
                yield self._answered(part, [future.result() for future in waiting])

    def _read(self, path: str) -> np.ndarray | str:
        try:
            return pixels.read(path, self.model.image_shape)
        except Exception as error:  # a broken file can fail in any way
            return decoder.reason(error)

    def _answered(self, paths: Sequence[str], read: list[np.ndarray | str]) -> Part:
        faults = {path: what for path, what in zip(paths, read) if isinstance(what, str)}
        images = [image for image in read if not isinstance(image, str)]
        probs = np.empty((0, len(self.classes)), dtype=np.float32)
        if images:
            probs = self.model.probabilities(np.stack(images))[:, self._columns]
        return Part([path for path in paths if path not in faults], probs, faults)


@contextmanager
def _pool(num: int) -> Iterator[ThreadPoolExecutor]:
    """Threads: Pillow decodes and resizes without Python's lock. At an interruption what has not
    begun is left."""
    pool = ThreadPoolExecutor(num, thread_name_prefix="decode")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
