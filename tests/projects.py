"""Whole projects in temporary folders: the code and some params under git and DVC."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, SETTINGS, tiny_values, write_params

CODE = ["pipeline", "stages", "data", "dvc.yaml", ".dvc/config", ".dvcignore", ".gitignore"]
NOT_CODE = shutil.ignore_patterns("__pycache__", "prepared", "*.safetensors")


def environment() -> dict[str, str]:
    """This process's, without what would leak into a project; our own `python` comes first."""
    kept = {k: v for k, v in os.environ.items() if k not in SETTINGS and k[:8] != "LINEAGE_"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    quiet = {"DVC_NO_ANALYTICS": "1", "GIT_CONFIG_GLOBAL": os.devnull, "PYTHONPATH": ""}
    who = {f"GIT_{who}_{what}": "t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME",)}
    who |= {f"GIT_{who}_EMAIL": "t@t" for who in ("AUTHOR", "COMMITTER")}
    return kept | quiet | who | {"PATH": path, "LINEAGE_THREADS": "1", "LINEAGE_DEVICE": "cpu"}


def call(folder: Path, *command: str, path: Path | None = None) -> str:
    """What the command says; `path` goes before the PATH."""
    variables = environment()
    if path:
        variables["PATH"] = f"{path}{os.pathsep}{variables['PATH']}"
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def dvc(folder: Path, *arguments: str, path: Path | None = None) -> str:
    """What `dvc <arguments>` says."""
    return call(folder, sys.executable, "-m", "dvc", *arguments, path=path)


def project(folder: Path, values: dict) -> Path:
    """The code and `values` as a git and DVC project, in a folder with a space in its name."""
    folder = folder / "a project"
    for name in CODE:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=NOT_CODE)
        else:
            shutil.copy(ROOT / name, target)
    write_params(folder, values)
    call(folder, "git", "init", "-q")
    call(folder, "git", "add", "-A")
    call(folder, "git", "commit", "-qm", "start")
    return folder


def short_values() -> dict:
    """One generation, a baseline, no task, no registry: what a real run shows, quickly."""
    values = tiny_values() | {"tasks": {}, "final": "g1"}
    del values["generations"]["g2"]
    values["report"]["register"] = False
    return values


def reproduce(folder: Path) -> None:
    """A project of `short_values` in `folder`, run by `dvc repro` and committed."""
    folder = project(folder, short_values())
    dvc(folder, "repro")
    call(folder, "git", "add", "-A")
    call(folder, "git", "commit", "-qm", "reproduced")
