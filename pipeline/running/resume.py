"""Checkpoints to go on from after an interruption, outside DVC's outputs (DVC deletes those
before each run) and removed when the stage is done.

    <root>/.lineage/resume/<stage>-<key>/step-<number>-<sha256>.safetensors

The key is a hash of what the training depends on, so that a changed parameter, input, number
format, kind of device or line of code starts afresh.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from pipeline.core import files, machine
from pipeline.core.errors import UserError

KEPT = 2
KEY_LENGTH = 16
KEYED = rf".*-[0-9a-f]{{{KEY_LENGTH}}}"  # a folder of checkpoints, not a second one beside it


class Resume:
    """The resume checkpoints of one training; a context that holds their lock.

    Args:
        stage: e.g. `student@g1`.
        depends: JSON-able: params and hashes of inputs.
    """

    def __init__(self, stage: str, depends: object):
        key = files.digest([depends, _code()])[:KEY_LENGTH]
        self.folder = machine.root() / ".lineage" / "resume" / f"{stage}-{key}"
        self._lock = FileLock("")

    def __enter__(self) -> Resume:
        """Take the lock. A second training of the same thing in another folder (two queued
        experiments that share a stage) works in parallel, without its checkpoints.

        Raises:
            UserError: another process trains the same model in this folder.
        """
        if not self._acquired():
            pid, folder = self._held_by()
            if folder in ("", os.getcwd()):
                fix = "wait for that process, or end it"
                raise UserError(str(self.folder), f"locked by pid {pid or 'unknown'}", fix)
            self.folder = self.folder.with_name(f"{self.folder.name}-{os.getpid()}")
            self._acquired()
        files.write_text(self._holder, f"{os.getpid()}\n{os.getcwd()}")
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        """Release the lock; after success remove the folder (nobody waits for a lock here)."""
        self._lock.release()
        if kind is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _holder(self) -> Path:
        return self.folder / "holder"

    def _held_by(self) -> tuple[str, str]:
        """Pid and folder of the lock's holder; empty for the moment before it has said so."""
        try:
            pid, _, folder = self._holder.read_text(encoding="utf-8").partition("\n")
        except FileNotFoundError:
            return "", ""
        return pid, folder

    def _acquired(self) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.folder / "lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        return True

    def save(self, step: int, state: dict[str, Tensor], notes: dict) -> None:
        """Keep `state` and the JSON-able `notes` as the newest checkpoint."""
        tensors = {k: v.detach().cpu().contiguous() for k, v in state.items()}
        # their order too, which safetensors does not keep and a sum over them depends on
        words = {"notes": json.dumps(notes), "order": json.dumps(list(tensors))}
        data = save_tensors(tensors, metadata=words)
        name = f"step-{step:09d}-{hashlib.sha256(data).hexdigest()}.safetensors"
        files.write_bytes(self.folder / name, data)
        for old in self._newest_first()[KEPT:]:
            old.unlink()

    def newest_step(self) -> int | None:
        """Steps that the newest checkpoint has behind it; None if there is none."""
        paths = self._newest_first()
        return _step(paths[0]) if paths else None

    def of_another(self) -> int | None:
        """The most steps that an interrupted training of this stage made with another key, which
        this one cannot go on from; None if there was none."""
        stage, _, _ = self.folder.name.rpartition("-")
        others = [
            path
            for path in self.folder.parent.glob("*/step-*.safetensors")
            if path.parent != self.folder
            and re.fullmatch(KEYED, path.parent.name)
            and path.parent.name[: -KEY_LENGTH - 1] == stage
        ]
        return max(map(_step, others), default=None)

    def newest(self) -> tuple[dict[str, Tensor], dict] | None:
        """State and notes of the newest checkpoint whose bytes are whole; None if there is none.

        Broken ones are removed, or their higher numbers would push out those written from here on.
        """
        for stray in self.folder.glob(".*.tmp"):
            stray.unlink()
        for path in self._newest_first():
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() in path.name:
                tensors, (order, notes) = load_tensors(data), _words(data)
                return {name: tensors[name] for name in order}, notes
            path.unlink()
        return None

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.safetensors"), reverse=True)


def _step(path: Path) -> int:
    return int(path.name.split("-")[1])


def _words(data: bytes) -> tuple[list[str], dict]:
    """The tensors' order, and the notes."""
    length = int.from_bytes(data[:8], "little")
    words = json.loads(data[8 : 8 + length])["__metadata__"]
    return json.loads(words["order"]), json.loads(words["notes"])


def _code() -> str:
    """A hash of this package's source."""
    folder = Path(__file__).parent.parent
    return files.digest(
        {str(p.relative_to(folder)): files.sha256(p) for p in sorted(folder.rglob("*.py"))}
    )
