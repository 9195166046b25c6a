"""The files that a person means by paths, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.core.errors import UserError, nearest

LEFT_BY_SYSTEMS = {"Thumbs.db", "desktop.ini", "__MACOSX"}


def files(given: Sequence[str]) -> list[str]:
    """Every file once, in the order given; those of folders and patterns by their names.

    Folders are searched with those within them, but for hidden ones and links to folders. What
    systems leave lying about is left out.

    Args:
        given: files, folders, or patterns as of a shell, where `**` is any folders.

    Raises:
        UserError: what is not there, matches nothing or holds no file; all in one pass.
    """
    found: dict[str, str] = {}
    errors = []
    for argument in given:
        try:
            for path in _meant(argument):
                found.setdefault(os.path.abspath(path), path)
        except UserError as error:
            errors.append(error)
    if errors:
        raise UserError.all(errors)
    return list(found.values())


def _meant(argument: str) -> list[str]:
    if os.path.isdir(argument):
        paths = list(_below(argument))
        if not paths:
            raise UserError(shown(argument), "holds no files", "name a folder of images")
        return paths
    if os.path.lexists(argument):
        return [argument]
    if not glob.has_magic(argument):
        there = Path(argument).parent
        names = os.listdir(there) if there.is_dir() else []
        fix = nearest(Path(argument).name, names)
        fix = fix if fix.startswith("did you mean") else "correct the path"
        raise UserError(shown(argument), "no such file or folder", fix)
    matches = (path for path in glob.iglob(argument, recursive=True) if not os.path.isdir(path))
    paths = sorted(path for path in matches if not LEFT_BY_SYSTEMS & set(Path(path).parts))
    if not paths:
        fix = "correct it; `**` stands for any folders"
        raise UserError(shown(argument), "no file matches", fix)
    return paths


def _below(folder: str) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(filter(_is_for_people, folders))
        yield from (os.path.join(place, name) for name in sorted(filter(_is_for_people, names)))


def _is_for_people(name: str) -> bool:
    return not name.startswith(".") and name not in LEFT_BY_SYSTEMS


def shown(path: str) -> str:
    """A path on a terminal: what cannot be printed is written out."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in path)
