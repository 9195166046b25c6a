"""Which files and folders Python opens, lists, makes or removes, and what else reaches outside."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FORBIDDEN = ("subprocess.", "socket.", "pickle.", "ctypes.", "os.system", "os.exec", "os.posix")
_heard: list[tuple[str, str]] | None = None


class Watched:
    """What was done, by real paths: links are followed.

    Attributes:
        read, written: files and folders.
        other: processes, sockets, pickles.
    """

    def __init__(self, events: list[tuple[str, str]]):
        self.read = {path for kind, path in events if kind == "read"}
        self.written = {path for kind, path in events if kind == "written"}
        self.other = [path for kind, path in events if kind == "other"]


@contextmanager
def watched() -> Iterator[list]:
    """Within, all is heard, by Python's audit events; afterwards the list holds a `Watched`."""
    global _heard
    results: list = []
    _install()
    _heard = []
    try:
        yield results
    finally:
        events, _heard = _heard, None
        results.append(Watched(events))


def _install() -> None:
    """An audit hook stays for good, so there is one."""
    if not getattr(_hear, "installed", False):
        sys.addaudithook(_hear)
        _hear.installed = True


def _hear(event: str, arguments: tuple) -> None:
    if _heard is None:
        return
    if event.startswith(FORBIDDEN):
        _heard.append(("other", f"{event} {arguments}"))
    elif event == "open":
        path, mode, flags = arguments
        writes = set(mode or "") & set("wax+") or (flags or 0) & WRITES
        _keep("written" if writes else "read", path)
    elif event in ("os.listdir", "os.scandir"):
        _keep("read", arguments[0])
    elif event.startswith(("os.", "shutil.")):
        for path in arguments:
            _keep("written", path)


def _keep(kind: str, path: object) -> None:
    if isinstance(path, (str, bytes, os.PathLike)):  # else a descriptor of what was opened
        _heard.append((kind, os.path.realpath(os.fsdecode(path))))
