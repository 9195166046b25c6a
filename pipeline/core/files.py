"""Files that are either whole or absent, and known by their SHA-256."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pipeline.core.errors import UserError


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write `data` as `written` does."""
    with written(path, len(data)) as file:
        file.write(data)


@contextmanager
def written(path: Path | str, num_bytes: int) -> Iterator[BinaryIO]:
    """A file to write to, so that a reader, or a crash, never sees half of it: the bytes go to a
    temporary name in the same folder, are synced, then renamed, and the folder is synced.

    Args:
        num_bytes: that it is going to have, for messages.

    Raises:
        UserError: the disk is full, or the folder cannot be written to; older files are intact.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path, num_bytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder outlast a power failure, where the system can (not Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def disk_errors(path: Path | str, num_bytes: int) -> Iterator[None]:
    """Within, what the disk refuses is a fault of the user's disk.

    Raises:
        UserError: what it said when `num_bytes` were to be written to `path`.
    """
    try:
        yield
    except OSError as error:
        there = next(folder for folder in Path(path).absolute().parents if folder.is_dir())
        free = shutil.disk_usage(there).free
        raise UserError(
            str(path),
            f"cannot write {num_bytes:,} bytes ({error.strerror}); {free:,} bytes are free",
            "free some space, or check the folder's permissions, and run again",
        ) from error


def write_text(path: Path | str, text: str) -> None:
    """`write_bytes` for UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path | str, value: object) -> None:
    """`write_bytes` for JSON with sorted keys, so that equal values give equal bytes."""
    write_text(path, _json(value))


def _json(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def read_json(path: Path | str) -> dict:
    """The JSON object in `path`.

    Raises:
        UserError: the file is missing or is not a JSON object.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(str(path), "no such file", "run `dvc repro`, which makes it") from None
    except ValueError as error:
        raise UserError(str(path), f"is not JSON ({error})", "run its stage again") from None
    if not isinstance(value, dict):
        raise UserError(str(path), "is not a JSON object", "run its stage again")
    return value


def write_sealed(path: Path | str, value: dict) -> dict:
    """`write_json` with a `seal`, the digest of all the rest; returns what was written."""
    value = {**value, "seal": digest(value)}
    write_json(path, value)
    return value


def read_sealed(path: Path | str, schema: int) -> dict:
    """The object that `write_sealed` wrote.

    Raises:
        UserError: missing, of another schema, or changed since.
    """
    value = read_json(path)
    if value.get("schema") != schema:
        what = f"schema {value.get('schema')}, this version reads {schema}"
        raise UserError(str(path), what, "run `dvc repro`, which makes it again")
    sealed = digest({k: v for k, v in value.items() if k != "seal"}) == value.get("seal")
    # and not one bit of it is otherwise, where `1e-5` says the same as `1E-5`
    if not sealed or Path(path).read_text(encoding="utf-8") != _json(value):
        raise UserError(str(path), "changed since it was written", "run its stage again")
    return value


def sha256(path: Path | str) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: object) -> str:
    """The SHA-256 of a JSON-able value, the same on every machine."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def check_sha256(path: Path | str, expected: str) -> None:
    """Refuse a file that is not, bit for bit, the one that was written.

    Raises:
        UserError: the file is missing or its bytes differ.
    """
    if not Path(path).is_file():
        raise UserError(str(path), "no such file", "run `dvc repro`, which makes it")
    if sha256(path) != expected:
        raise UserError(
            str(path),
            "sha256 differs from the one recorded when it was written",
            "delete it and run its stage again (`dvc repro`), or restore it (`dvc checkout`)",
        )
