"""Arrays by name in an .npz file, or in a folder of .npy files; nothing is unpickled."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from pipeline.core.errors import UserError
from pipeline.sources.stamps import Stamps

PIECE = 16 * 2**20  # bytes in memory at a time
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
FIX = "save it again with numpy.savez or numpy.save"
BROKEN = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)
NOT_OURS = (RuntimeError, NotImplementedError)  # of archives with a password, of other kinds


class Header(NamedTuple):
    """What an array is, before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype


class Arrays:
    """Arrays below a root: `<root>/<name>.npy`, or those of the .npz file that the root is.

    Raises:
        UserError: the root is neither.
    """

    def __init__(self, root: Path):
        self.root = root
        if not root.exists():
            fix = "put an .npz file or a folder of .npy files there, or correct data.root"
            raise UserError(str(root), "no such file or folder", fix)
        with self._errors(str(root), "is no .npz file that can be read"):
            self.names = sorted(self._names())

    def where(self, name: str) -> str:
        """An array, for messages."""
        return f"{self.root}, array '{name}'"

    def header(self, name: str) -> Header:
        """Of an array, which is not read.

        Raises:
            UserError: it cannot be read, is of Python objects, or in Fortran's order.
        """
        with self._array(name) as (_, header):
            return header

    def read(self, name: str) -> np.ndarray:
        """A whole array.

        Raises:
            UserError: see `header`.
        """
        header = self.header(name)
        return np.concatenate([np.empty((0, *header.shape[1:]), header.dtype), *self.pieces(name)])

    def pieces(self, name: str) -> Iterator[np.ndarray]:
        """An array, some rows at a time.

        Raises:
            UserError: see `header`.
        """
        with self._array(name) as (file, (shape, dtype)):
            row_bytes = math.prod(shape[1:]) * dtype.itemsize
            step = max(1, PIECE // max(1, row_bytes))
            for start in range(0, shape[0], step):
                num = min(step, shape[0] - start)
                data = file.read(num * row_bytes)
                if len(data) < num * row_bytes:
                    raise ValueError(f"it ends after row {start + len(data) // row_bytes}")
                yield np.frombuffer(data, dtype).reshape(num, *shape[1:])

    @contextmanager
    def _array(self, name: str) -> Iterator[tuple[IO[bytes], Header]]:
        """A file that stands at the first row."""
        with self._errors(self.where(name), "cannot be read"), self._open(name) as file:
            version = npy.read_magic(file)
            shape, fortran, dtype = HEADERS[version](file) if version in HEADERS else ((), 0, "O")
            header = Header(shape, np.dtype(dtype))
            if header.dtype.hasobject:
                raise ValueError("it is of Python objects, which are never unpickled")
            if fortran or not shape:
                raise ValueError("it is in Fortran's order" if shape else "it has no rows")
            yield file, header

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        if self.root.is_dir():
            stamp = Stamps(self.root).of(f"{name}.npy")
            if isinstance(stamp, str):
                raise ValueError(stamp)
            with open(self.root / f"{name}.npy", "rb") as file:
                yield file
        else:
            with zipfile.ZipFile(self.root) as archive, archive.open(f"{name}.npy") as file:
                yield file

    def _names(self) -> list[str]:
        if self.root.is_dir():
            return [path.stem for path in self.root.glob("*.npy")]
        if not self.root.is_file():
            raise ValueError("it is no regular file")
        with zipfile.ZipFile(self.root) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]

    @contextmanager
    def _errors(self, where: str, what: str) -> Iterator[None]:
        try:
            yield
        except (*BROKEN, *NOT_OURS) as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(where, f"{what} ({said})", FIX) from None
